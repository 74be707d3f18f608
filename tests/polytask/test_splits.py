"""The last event is the test, the one before it validation."""

import pandas as pd

from polytask.splits import split_events


def test_time_decides_then_file_order(small_scenario):
    noon = pd.Timestamp("2024-03-01T12:00:00Z")
    events = pd.DataFrame(
        {
            "user_id": [1, 1, 1, 1, 2, 2, 3, 3, 3],
            "timestamp": [noon, noon, noon, noon - pd.Timedelta("1s"), noon, noon, noon, noon, noon],
            "event_id": [5, 3, 4, 9, 0, 1, 12, 10, 11],
        }
    )
    split = ["test", "train", "validation", "train", "train", "train", "test", "train", "validation"]
    assert split_events(small_scenario, events).tolist() == split
    shuffled = events.sample(frac=1, random_state=2)
    assert split_events(small_scenario, shuffled).to_dict() == dict(enumerate(split))


def test_one_test_and_one_validation_event_per_user(small_scenario, tables):
    events = tables.interactions.assign(split=split_events(small_scenario, tables.interactions))
    counts = events.groupby(["user_id", "split"]).size().unstack()
    assert (counts["test"] == 1).all()
    assert (counts["validation"] == 1).all()
    latest = events.groupby(["split", "user_id"])["timestamp"].max()
    assert (latest["train"] < latest["validation"]).all()
    assert (latest["validation"] < latest["test"]).all()
