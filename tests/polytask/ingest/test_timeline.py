"""Order and ties of events."""

import numpy as np
import pandas as pd

from polytask.ingest.timeline import order_events


def events(rows: list[tuple[int, int]]) -> pd.DataFrame:
    """(user, microseconds) in file order."""
    moments = pd.to_datetime([moment for _, moment in rows], unit="us", utc=True).astype("datetime64[us, UTC]")
    return pd.DataFrame({"event_id": range(len(rows)), "user": [user for user, _ in rows], "at": moments})


def microseconds(table: pd.DataFrame) -> list[int]:
    return table["at"].astype("int64").tolist()


def test_kth_tie_moves_by_2k_in_file_order_and_other_users_stay():
    second = 1_000_000
    table, moved = order_events(events([(1, second), (2, second), (1, second), (1, 0), (1, second)]), "user", "at")
    assert table["event_id"].tolist() == [3, 0, 1, 2, 4]
    assert microseconds(table) == [0, second, second, second + 2, second + 4]
    assert moved == 2


def test_events_nearer_than_two_microseconds_are_pushed_on_in_order():
    table, _ = order_events(events([(1, 10), (1, 10), (1, 11), (1, 12), (1, 100)]), "user", "at")
    assert table["event_id"].tolist() == [0, 1, 2, 3, 4]
    assert microseconds(table) == [10, 12, 14, 16, 100]


def test_random_events_are_two_apart_per_user_and_never_earlier():
    random = np.random.default_rng(3)
    raw = events(
        [(int(u), int(t)) for u, t in zip(random.integers(0, 5, 400), random.integers(0, 300, 400), strict=True)]
    )
    table, _ = order_events(raw, "user", "at")
    assert table.groupby("user")["at"].diff().dropna().min() >= pd.Timedelta(2, "us")
    before = raw.set_index("event_id")["at"].reindex(table["event_id"])
    assert (table["at"].to_numpy() >= before.to_numpy()).all()
    by_user = raw.sort_values(["user", "at", "event_id"])["event_id"].tolist()
    assert table.sort_values(["user", "at"])["event_id"].tolist() == by_user
