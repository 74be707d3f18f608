"""Who is trained on and who is asked: each user's last event is the test, the one before it the validation."""

from typing import Literal

import numpy as np
import pandas as pd

from polytask.scenario.schema import Scenario
from polytask.tables import EVENT_ID

Split = Literal["train", "validation", "test"]
SPLIT = "split"


def split_events(scenario: Scenario, events: pd.DataFrame) -> pd.Series:
    """The split of every event, in the order of `events`.

    Time decides, and for equal times the place in the source file; users with fewer than three events only train.
    """
    key, time = scenario.entities.users.key, scenario.entities.interactions.timestamp
    ordered = events.sort_values([time, EVENT_ID])
    from_end = ordered.groupby(key).cumcount(ascending=False)
    enough = ordered.groupby(key)[key].transform("size") >= 3
    split = np.select([enough & (from_end == 0), enough & (from_end == 1)], ["test", "validation"], "train")
    return pd.Series(split, index=ordered.index, name=SPLIT).reindex(events.index)
