"""The training set: one row per interaction with the features as of just before it, out of Feast."""

import logging
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.leaks import LeakCheck
from feature_repo.point_in_time import PointInTimeJoin
from polytask.contract.tensors import HISTORY, SEEN
from polytask.errors import DataError
from polytask.scenario.names import CONTEXT_WORDS, EVENT_ID
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import atomic_file

LOGGER = logging.getLogger(__name__)
# Bounds the memory: a join's result is held as a whole, and again in the order of the events.
ROWS_PER_JOIN = 50_000


def build_training_set(store_folder: Path, scenario: Scenario, interactions: pd.DataFrame, target: Path) -> Path:
    """Join the scenario's feature service to every interaction and write the Parquet file `target`; returns it.

    Rows are those of `interactions`, by user and time: all events of each user in it, up to some time. Columns:
    event_id, the keys, timestamp, interaction columns, profile, `history` and `seen` (lists of item keys, oldest first,
    empty before the first event; only with items), `daypart`, `weekpart`. Raises DataError when a row is lost or
    doubled, has no profile, or holds anything but the events strictly before its own; `target` then stays as it was.
    """
    # By user, as the sources are: a join then reads the row groups of its own users rather than all of them.
    entities = scenario.entities
    interactions = interactions.sort_values([entities.users.key, entities.interactions.timestamp, EVENT_ID])
    join = PointInTimeJoin(store_folder, scenario)
    check = LeakCheck(scenario, interactions) if scenario.has_items else None
    with atomic_file(target) as temporary:
        writer: pq.ParquetWriter | None = None
        try:
            for start in range(0, len(interactions), ROWS_PER_JOIN):
                events = interactions.iloc[start : start + ROWS_PER_JOIN]
                rows = _rows(scenario, events, join(events))
                if check is not None:
                    check.look_at(rows)
                writer = writer or pq.ParquetWriter(temporary, rows.schema)
                writer.write_table(rows)
                LOGGER.info("joined %d of %d interactions", start + len(events), len(interactions))
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise DataError("interactions: no rows to build a training set from")
        if check is not None:
            check.finish()
    return target


def _rows(scenario: Scenario, events: pd.DataFrame, joined: pa.Table) -> pa.Table:
    """The columns of the training set for `events` and their features, in the same order."""
    entities, profile = scenario.entities, scenario.features.profile
    for name in profile:
        missing = joined[name].null_count
        if missing and not entities.users.columns[name].nullable:
            raise DataError(
                f"{name}: {missing} of {len(events)} rows have no value; is the profile stamped later than the events, "
                f"or longer before them than features.profile_ttl_days ({scenario.features.profile_ttl_days:g})?"
            )
    keys = [entities.users.key, *([] if entities.items is None else [entities.items.key])]
    own = [EVENT_ID, *keys, entities.interactions.timestamp, *entities.interactions.columns]
    table = pa.Table.from_pandas(events[own], preserve_index=False)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    columns |= {name: joined[name] for name in profile}
    if scenario.has_items:
        columns |= {name: _without_nulls(joined[name].combine_chunks()) for name in (HISTORY, SEEN)}
    columns |= {name: joined[name] for name in CONTEXT_WORDS}
    return pa.table(columns)


def _without_nulls(lists: pa.ListArray) -> pa.ListArray:
    """A missing list becomes an empty one."""
    lengths = lists.value_lengths().fill_null(0).to_numpy()
    offsets = pa.array([0, *lengths.cumsum().tolist()], pa.int32())
    return pa.ListArray.from_arrays(offsets, lists.flatten())
