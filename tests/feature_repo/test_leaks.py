"""The leak check on training sets with a planted fault."""

import numpy as np
import pandas as pd
import pytest

from feature_repo.leaks import check_no_leak
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


def check(scenario, frame, tables, folder):
    frame.to_parquet(folder / "t.parquet", index=False)
    check_no_leak(scenario, folder / "t.parquet", tables.interactions)


def test_honest_rows_pass_in_any_order(small_scenario, honest, tables, tmp_path):
    check(small_scenario, honest.sample(frac=1, random_state=2), tables, tmp_path)


@pytest.mark.parametrize("column", ["history", "seen"])
def test_one_row_with_its_own_item_is_caught(small_scenario, honest, tables, tmp_path, column):
    row = 200
    own = tables.interactions["item_id"][row]
    planted = list(honest[column])
    planted[row] = [*planted[row], own]
    with pytest.raises(DataError, match=rf"{column}: 1 of {len(honest)} rows .* ending in .*{own}\]"):
        check(small_scenario, honest.assign(**{column: planted}), tables, tmp_path)


def test_a_leak_of_unchanged_length_is_caught(small_scenario, honest, tables, tmp_path):
    """A full window that slid one event too far."""
    full = int(np.flatnonzero(honest["history"].map(len) == 10)[50])
    planted = list(honest["history"])
    planted[full] = [*planted[full][1:], tables.interactions["item_id"][full]]
    with pytest.raises(DataError, match="history: 1 of"):
        check(small_scenario, honest.assign(history=planted), tables, tmp_path)


def test_a_lost_history_is_caught_unless_its_ttl_ran_out(small_scenario, honest, tables, tmp_path):
    gaps = tables.interactions.groupby("user_id")["timestamp"].diff()
    late = int(gaps.argmax())
    days = gaps[late] / pd.Timedelta(1, "D")
    planted = honest.assign(
        **{c: [[] if n == late else v for n, v in enumerate(honest[c])] for c in ("history", "seen")}
    )
    with pytest.raises(DataError, match="history: 1 of"):
        check(small_scenario, planted, tables, tmp_path)
    features = small_scenario.features.model_copy(update={"history_ttl_days": days - 0.001})
    check(small_scenario.model_copy(update={"features": features}), planted, tables, tmp_path)


def test_an_event_that_nobody_knows_is_named(small_scenario, honest, tables, tmp_path):
    with pytest.raises(DataError, match="event_id 5000 of the training set is not among the interactions"):
        check(small_scenario, honest.assign(event_id=honest["event_id"].replace(7, 5000)), tables, tmp_path)
