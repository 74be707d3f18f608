"""All Feast objects of a scenario, derived from the scenario alone: entities, sources, views, feature service."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import FunctionType
from typing import Any

from feast import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView, PushSource, RequestSource
from feast.data_source import DataSource
from feast.transformation.udf_rehydrate import rehydrate_udf_from_source
from feast.types import Array, FeastType, Float64, Int64, String
from feast.value_type import ValueType

from feature_repo.batch_sources import Settings, batch_source
from feature_repo.sources import ITEM_CATALOGUE, USER_HISTORY, USER_PROFILE
from feature_repo.store import OFFLINE_STORE
from polytask.contract.tensors import HISTORY, SEEN
from polytask.scenario.names import CONTEXT_WORDS
from polytask.scenario.schema import Column, Scenario, Table
from polytask.text.stored_code import time_context_source

PUSH_SOURCE = "user_history_push"
TIME_CONTEXT = "time_context"
REQUEST_TIME = "request_time"

_DTYPES: dict[str, FeastType] = {"integer": Int64, "float": Float64, "string": String, "string_list": Array(String)}
_VALUE_TYPES = {"integer": ValueType.INT64, "string": ValueType.STRING}


def definitions(scenario: Scenario, folder: Path, offline: Settings = OFFLINE_STORE) -> list[Any]:
    """Everything to apply, over the sources below `folder` (written by `feature_repo.sources`).

    `offline` is the offline store that will read them: the sources are of its kind, all else is the same.

    Entities `user` and `item`; views `user_profile`, `user_history` (fed by the push source `user_history_push` too),
    `item_catalogue`; the on-demand view `time_context` over the request's `request_time` (Unix seconds); the service.
    Without items, the profile and the time context are all there is.
    """
    features = scenario.features

    def source(view: str) -> DataSource:
        return batch_source(offline, scenario.name, folder, view)

    user = _entity("user", scenario.entities.users)
    profile = FeatureView(
        name=USER_PROFILE,
        entities=[user],
        ttl=timedelta(days=features.profile_ttl_days),
        schema=_fields({name: scenario.entities.users.columns[name] for name in features.profile}),
        source=source(USER_PROFILE),
    )
    context = _time_context(features.timezone)
    if not scenario.has_items:
        service = FeatureService(name=scenario.feature_service, features=[profile, context])
        return [user, profile, context, service]
    push = PushSource(name=PUSH_SOURCE, batch_source=source(USER_HISTORY))
    history = _history(scenario, user, push)
    item, catalogue = _catalogue(scenario, source(ITEM_CATALOGUE))
    service = FeatureService(name=scenario.feature_service, features=[profile, history, context])
    return [user, item, push, profile, history, catalogue, context, service]


def _history(scenario: Scenario, user: Entity, source: PushSource) -> FeatureView:
    days = scenario.features.history_ttl_days
    assert days is not None, "features.history_ttl_days is needed with items"
    keys = Array(_DTYPES[scenario.items.key_type])
    return FeatureView(
        name=USER_HISTORY,
        entities=[user],
        ttl=timedelta(days=days),
        schema=[Field(name=HISTORY, dtype=keys), Field(name=SEEN, dtype=keys)],
        source=source,
    )


def _catalogue(scenario: Scenario, source: DataSource) -> tuple[Entity, FeatureView]:
    item = _entity("item", scenario.items)
    view = FeatureView(
        name=ITEM_CATALOGUE,
        entities=[item],
        ttl=timedelta(days=scenario.features.profile_ttl_days),
        schema=_fields(scenario.items.columns),
        source=source,
    )
    return item, view


def _entity(name: str, table: Table) -> Entity:
    return Entity(name=name, join_keys=[table.key], value_type=_VALUE_TYPES[table.key_type])


def _fields(columns: Mapping[str, Column]) -> list[Field]:
    return [Field(name=name, dtype=_DTYPES[column.type]) for name, column in columns.items()]


def _time_context(timezone: str) -> OnDemandFeatureView:
    source = time_context_source(REQUEST_TIME, timezone)
    function = rehydrate_udf_from_source(source, preferred_name=TIME_CONTEXT)
    assert isinstance(function, FunctionType), "the source defines this function"
    return OnDemandFeatureView(
        name=TIME_CONTEXT,
        sources=[RequestSource(name="request", schema=[Field(name=REQUEST_TIME, dtype=Int64)])],
        schema=[Field(name=word, dtype=String) for word in CONTEXT_WORDS],
        mode="python",
        udf=function,
        udf_string=source,
    )
