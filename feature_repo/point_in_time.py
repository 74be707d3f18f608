"""The features as of just before each event, from the offline store in the settings."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from feast import OnDemandFeatureView

from feature_repo.definitions import REQUEST_TIME
from feature_repo.sources import STAMP
from feature_repo.store import known_warnings_ignored, open_batch_store
from polytask.errors import DataError
from polytask.scenario.names import EVENT_ID
from polytask.scenario.schema import Scenario


class PointInTimeJoin:
    """Joins the scenario's feature service to events. Rows are counted in and out, whatever the store is."""

    def __init__(self, store_folder: Path, scenario: Scenario) -> None:
        self._scenario = scenario
        self._store = open_batch_store(store_folder)
        self._name = type(self._store._get_provider().offline_store).__name__
        service = self._store.get_feature_service(scenario.feature_service)
        requested = [
            (view.name_to_use(), field.name) for view in service.feature_view_projections for field in view.features
        ]
        references = [f"{view}:{name}" for view, name in requested]
        self._on_demand = OnDemandFeatureView.get_requested_odfvs(references, self._store.project, self._store.registry)
        computed = {view.projection.name_to_use() for view in self._on_demand}
        self._features = [f"{view}:{name}" for view, name in requested if view not in computed]

    def __call__(self, events: pd.DataFrame) -> pa.Table:
        """One row per event, in the order of `events`: event_id, the user's key and all features of the service.

        Raises DataError where the store lost, doubled or replaced a row.
        """
        sent = self._entity_rows(events)
        with known_warnings_ignored():
            joined = self._store.get_historical_features(sent, self._features).to_arrow()
            returned = joined[EVENT_ID].to_pandas()
            if not np.array_equal(returned.to_numpy(), sent[EVENT_ID].to_numpy()):
                check_same_rows(sent[EVENT_ID], returned, self._name)
                # A store may return rows in any order; copying all arrays again can take as long as the join.
                order = pd.Series(returned.index, index=returned)[sent[EVENT_ID]].to_numpy()
                joined = joined.take(pa.array(order))
            for view in self._on_demand:
                joined = _with(joined, view, pa.Table.from_pandas(sent, preserve_index=False))
        return joined

    def _entity_rows(self, events: pd.DataFrame) -> pd.DataFrame:
        entities = self._scenario.entities
        moments = events[entities.interactions.timestamp].astype("datetime64[us, UTC]")
        return pd.DataFrame(
            {
                EVENT_ID: events[EVENT_ID],
                entities.users.key: events[entities.users.key],
                STAMP: moments,
                REQUEST_TIME: moments.astype("int64") // 1_000_000,
            }
        )


def check_same_rows(sent: pd.Series, returned: pd.Series, store: str) -> None:
    """Raise DataError with the store and both counts unless the event ids that came back are those sent, each once."""
    if len(returned) != len(sent) or not returned.sort_values().reset_index(drop=True).equals(
        sent.sort_values().reset_index(drop=True)
    ):
        lost = sent[~sent.isin(returned)]
        raise DataError(
            f"the offline store {store} returned {len(returned)} rows ({returned.nunique()} different events) "
            f"for {len(sent)}; {len(lost)} events are lost, first: {lost.head(3).tolist()}"
        )


def _with(joined: pa.Table, view: OnDemandFeatureView, sent: pa.Table) -> pa.Table:
    """Add what an on-demand view makes of the request.

    Left to itself, Feast hands a Python view every column of the result as Python objects: arrays of a user's whole
    history too, which took longer than the join.
    """
    inputs = [field.name for source in view.source_request_sources.values() for field in source.schema]
    computed = view.transform_arrow(sent.select(inputs))
    for field in view.features:
        joined = joined.append_column(field.name, computed[field.name])
    return joined
