"""The leak check on training sets with a planted fault."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feature_repo.leaks import LeakCheck
from polytask.errors import DataError


@pytest.fixture
def honest(small_scenario, tables):
    """A training set made by a plain loop."""
    done: dict[int, list[int]] = {}
    rows = []
    for event in tables.interactions.itertuples(index=False):
        before = done.setdefault(event.user_id, [])
        rows.append((event.event_id, before[-10:], before[-48:]))
        before.append(event.item_id)
    return pd.DataFrame(rows, columns=["event_id", "history", "seen"])


def check(scenario, frame, tables):
    """In two parts, as the training set comes."""
    leaks = LeakCheck(scenario, tables.interactions)
    for part in (frame.iloc[:333], frame.iloc[333:]):
        leaks.look_at(pa.Table.from_pandas(part, preserve_index=False))
    leaks.finish()


def test_honest_rows_pass_in_any_order(small_scenario, honest, tables):
    check(small_scenario, honest.sample(frac=1, random_state=2), tables)


@pytest.mark.parametrize("column", ["history", "seen"])
def test_one_row_with_its_own_item_is_caught(small_scenario, honest, tables, column):
    row = 200
    own = tables.interactions["item_id"][row]
    planted = list(honest[column])
    planted[row] = [*planted[row], own]
    with pytest.raises(DataError, match=rf"{column}: 1 of {len(honest)} rows .* ending in .*{own}\]"):
        check(small_scenario, honest.assign(**{column: planted}), tables)


def test_a_leak_of_unchanged_length_is_caught(small_scenario, honest, tables):
    """A full window that slid one event too far."""
    full = int(np.flatnonzero(honest["history"].map(len) == 10)[50])
    planted = list(honest["history"])
    planted[full] = [*planted[full][1:], tables.interactions["item_id"][full]]
    with pytest.raises(DataError, match="history: 1 of"):
        check(small_scenario, honest.assign(history=planted), tables)


def test_a_lost_history_is_caught_unless_its_ttl_ran_out(small_scenario, honest, tables):
    gaps = tables.interactions.groupby("user_id")["timestamp"].diff()
    late = int(gaps.argmax())
    days = gaps[late] / pd.Timedelta(1, "D")
    planted = honest.assign(
        **{c: [[] if n == late else v for n, v in enumerate(honest[c])] for c in ("history", "seen")}
    )
    with pytest.raises(DataError, match="history: 1 of"):
        check(small_scenario, planted, tables)
    features = small_scenario.features.model_copy(update={"history_ttl_days": days - 0.001})
    check(small_scenario.model_copy(update={"features": features}), planted, tables)


def test_an_event_that_nobody_knows_is_named(small_scenario, honest, tables):
    with pytest.raises(DataError, match="event_id 5000 of the training set is not among the interactions"):
        check(small_scenario, honest.assign(event_id=honest["event_id"].replace(7, 5000)), tables)


@pytest.mark.parametrize("planted", [False, True])
def test_item_keys_may_be_texts(small_scenario, honest, tables, planted):
    content = small_scenario.model_dump()
    content["entities"]["items"]["key_type"] = "string"
    named = tables._replace(interactions=tables.interactions.astype({"item_id": str}))
    texts = honest.assign(**{c: [[str(item) for item in row] for row in honest[c]] for c in ("history", "seen")})
    if not planted:
        check(type(small_scenario).model_validate(content), texts, named)
        return
    row = int(np.flatnonzero(honest["history"].map(len) == 10)[50])
    texts["history"][row][3] = "an item that nobody met"
    with pytest.raises(DataError, match="history: 1 of"):
        check(type(small_scenario).model_validate(content), texts, named)
