"""An offline store that somebody else wrote: it answers with the rows that `change` makes of those it was sent."""

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
