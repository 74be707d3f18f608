"""An offline store of a third party: it returns the rows that it was sent, modified by `change`."""

from feature_repo.offline_store import AsofDuckDBOfflineStore, AsofDuckDBOfflineStoreConfig


class OtherOfflineStoreConfig(AsofDuckDBOfflineStoreConfig):
    type: str = f"{__name__}.OtherOfflineStore"


class OtherOfflineStore(AsofDuckDBOfflineStore):
    change = staticmethod(lambda rows: rows)

    @staticmethod
    def get_historical_features(config, feature_views, feature_refs, entity_df, *others, **kwargs):
        rows = OtherOfflineStore.change(entity_df)
        return AsofDuckDBOfflineStore.get_historical_features(
            config, feature_views, feature_refs, rows, *others, **kwargs
        )
