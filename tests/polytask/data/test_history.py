"""Histories as of each event."""

import pandas as pd

from polytask.data.history import AFTER_EVENT, history_as_of


def test_every_row_against_a_plain_loop(small_scenario, tables):
    shuffled = tables.interactions.sample(frac=1, random_state=1)
    # Parts that end within a user's events.
    parts = list(history_as_of(small_scenario, shuffled, 7))
    assert {len(part) for part in parts[:-1]} == {7} and 1 <= len(parts[-1]) <= 7
    rows = pd.concat(parts)
    assert rows.columns.tolist() == ["user_id", "timestamp", "history", "seen"]
    assert len(rows) == len(tables.interactions)
    expected = []
    for user, events in tables.interactions.groupby("user_id"):
        items = events["item_id"].tolist()
        for step, moment in enumerate(events["timestamp"], start=1):
            expected.append((user, moment + pd.Timedelta(1, "us"), items[:step][-10:], items[:step][-48:]))
    found = [(u, t, list(h), list(s)) for u, t, h, s in rows.itertuples(index=False)]
    assert found == expected
    assert max(len(seen) for *_, seen in expected) > 10  # else `history` and `seen` would not differ


def test_arrays_are_views_of_one_array(small_scenario, tables):
    first, *_, last = history_as_of(small_scenario, tables.interactions, 7)
    assert last["seen"].iloc[-1].base is first["history"].iloc[0].base is not None


def test_stamp_lies_after_the_event_and_before_the_next(tables):
    gaps = tables.interactions.sort_values(["user_id", "timestamp"]).groupby("user_id")["timestamp"].diff().dropna()
    assert (gaps > AFTER_EVENT).all()
