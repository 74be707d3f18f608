"""Split the events: hold out the last events of each user, or a share of the users with all their events."""

from collections.abc import Hashable
from hashlib import sha256
from typing import Literal

import numpy as np
import pandas as pd

from polytask.scenario.names import EVENT_ID
from polytask.scenario.schema import Scenario

Split = Literal["train", "validation", "test"]
SPLIT = "split"


def split_events(scenario: Scenario, events: pd.DataFrame) -> pd.Series:
    """The split of every event, in the order of `events`, by the scenario's section `split`."""
    return _by_share(scenario, events) if scenario.split.kind == "user_holdout" else _by_leave_one_out(scenario, events)


def _by_leave_one_out(scenario: Scenario, events: pd.DataFrame) -> pd.Series:
    """Time decides, and for equal times the place in the source; users with fewer than three events only train."""
    key, time = scenario.entities.users.key, scenario.entities.interactions.timestamp
    ordered = events.sort_values([time, EVENT_ID])
    from_end = ordered.groupby(key).cumcount(ascending=False)
    enough = ordered.groupby(key)[key].transform("size") >= 3
    split = np.select([enough & (from_end == 0), enough & (from_end == 1)], ["test", "validation"], "train")
    return pd.Series(split, index=ordered.index, name=SPLIT).reindex(events.index)


def _by_share(scenario: Scenario, events: pd.DataFrame) -> pd.Series:
    """Each user draws a number from 0 to 1 by hash: the lowest are the test, the next the validation.

    Users and not events are drawn, since all events of a user have the same text: one of them in training would give
    the others away.
    """
    test = scenario.split.test or 0.0
    validation = test + (scenario.split.validation or 0.0)
    seed = scenario.split.seed
    keys = events[scenario.entities.users.key]
    place = keys.map({user: _place(user, seed) for user in keys.unique()}).to_numpy(dtype=np.float64)
    split = np.select([place < test, place < validation], ["test", "validation"], "train")
    return pd.Series(split, index=events.index, name=SPLIT)


def _place(user: Hashable, seed: int) -> float:
    """A number in [0, 1) that depends on the key and the seed alone, so that new data never moves a user."""
    return int(sha256(f"{seed}:{user}".encode()).hexdigest()[:13], 16) / 16**13
