"""Feast's DuckDB offline store with its point-in-time join done by DuckDB's ASOF JOIN.

Feast's own join pairs every row with every earlier row of its user and keeps the newest: with arrays of a user's
whole history in the rows that took 23 s and 13 GB for MovieLens-100K; the ASOF join takes .3 s and .2 GB. Everything
else (sources, materialize, on-demand views) is the parent's. The tests compare the two on the same data.
"""

from typing import Any

import ibis
import pandas as pd
from feast import FeatureView, OnDemandFeatureView, RepoConfig
from feast.infra.offline_stores import duckdb as feast_duckdb
from feast.infra.offline_stores.ibis import IbisRetrievalJob
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from ibis.expr.datatypes import Timestamp
from ibis.expr.types import Table

from polytask.errors import DataError

ENTITY_TIME = "event_timestamp"
_FEATURE_TIME = "__feature_time"
_UTC = Timestamp(timezone="UTC")


class AsofDuckDBOfflineStoreConfig(feast_duckdb.DuckDBOfflineStoreConfig):
    """The same settings as `duckdb`; `type` is the path of the class below."""

    type: str = "feature_repo.offline_store.AsofDuckDBOfflineStore"


class AsofDuckDBOfflineStore(feast_duckdb.DuckDBOfflineStore):
    """`get_historical_features` over an entity frame with the column `event_timestamp`; the rest is inherited."""

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        """For each entity row the newest feature row at or before its time and not older than the view's TTL."""
        if not isinstance(entity_df, pd.DataFrame) or ENTITY_TIME not in entity_df:
            raise DataError(f"the entity rows are to be a data frame with the column {ENTITY_TIME!r}")
        if full_feature_names or filter_by_created_timestamp:
            raise DataError("full_feature_names and filter_by_created_timestamp are not supported by the ASOF join")
        rows = ibis.memtable(entity_df)
        for view in feature_views:
            names = [ref.split(":")[1] for ref in feature_refs if ref.startswith(f"{view.projection.name_to_use()}:")]
            rows = _join(rows, view, names, str(config.repo_path), entity_df)
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        times = entity_df[ENTITY_TIME]
        return IbisRetrievalJob(
            rows,
            on_demand,
            full_feature_names,
            metadata=RetrievalMetadata(
                features=feature_refs,
                keys=[column for column in entity_df.columns if column != ENTITY_TIME],
                min_event_timestamp=times.min().to_pydatetime(),
                max_event_timestamp=times.max().to_pydatetime(),
            ),
            data_source_writer=feast_duckdb._write_data_source,
            staging_location=config.offline_store.staging_location,
            staging_location_endpoint_override=config.offline_store.staging_location_endpoint_override,
            repo_path=str(config.repo_path),
        )


def _join(rows: Table, view: FeatureView, names: list[str], repo_path: str, entity_df: pd.DataFrame) -> Table:
    source: Any = view.batch_source
    if source.created_timestamp_column:
        raise DataError(f"{view.name}: its source has a created timestamp, which the ASOF join does not look at")
    features = feast_duckdb._read_data_source(source, repo_path)
    features = features.rename({new: old for old, new in source.field_mapping.items() if old in features.columns})
    keys = view.projection.join_key_map or {entity.name: entity.name for entity in view.entity_columns}
    moment = features[source.timestamp_field].cast(_UTC).name(_FEATURE_TIME)
    features = features.select(*keys, *names, moment)
    # No other rows can join; DuckDB skips the row groups outside of these bounds, which it does not find by itself.
    for own, theirs in keys.items():
        features = features.filter(features[own].between(entity_df[theirs].min(), entity_df[theirs].max()))
    kept = rows.columns
    joined = rows.asof_join(
        features,
        on=rows[ENTITY_TIME] >= features[_FEATURE_TIME],
        predicates=[rows[theirs] == features[own] for own, theirs in keys.items()],
        rname="__{name}",
    )
    if view.ttl:
        fresh = joined[_FEATURE_TIME] + ibis.literal(view.ttl) >= joined[ENTITY_TIME]
        joined = joined.mutate({name: fresh.ifelse(joined[name], ibis.null()) for name in names})
    return joined.select(*kept, *names)
