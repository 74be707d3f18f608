"""Which events are predicted: the last one of each user, or all events of a share of the users."""

import numpy as np
import pandas as pd

from polytask.data.splits import split_events
from polytask.scenario.schema import Split


def with_shares(scenario, **settings):
    split = Split.model_validate({"kind": "user_holdout", "validation": 0.1, "test": 0.2, **settings})
    return scenario.model_copy(update={"split": split})


def test_shares_draw_users_with_all_their_events(small_scenario):
    users = np.repeat(np.arange(2000), 3)
    events = pd.DataFrame({"user_id": users, "timestamp": 0, "event_id": range(6000)})
    split = split_events(with_shares(small_scenario), events)
    assert (split.groupby(users).nunique() == 1).all()
    shares = split.value_counts(normalize=True)
    assert abs(shares["test"] - 0.2) < 0.03
    assert abs(shares["validation"] - 0.1) < 0.02


def test_shares_hold_whatever_else_is_in_the_data(small_scenario):
    events = pd.DataFrame({"user_id": range(500), "timestamp": 0, "event_id": range(500)})
    scenario = with_shares(small_scenario)
    split = split_events(scenario, events)
    some = events.sample(100, random_state=1)
    assert split_events(scenario, some).to_dict() == split[some.index].to_dict()
    assert (split_events(with_shares(small_scenario, seed=1), events) != split).any()


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
