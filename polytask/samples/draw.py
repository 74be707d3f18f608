"""Draw events: who met what, when and in what context, by tastes that a model should find again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.text.time_context import time_context

FloatArray = NDArray[np.float64]

START = pd.Timestamp("2026-03-02T00:00:00Z")
DAYS = 60
EVENTS_PER_USER = (16, 28)
FIT = "fit"


@dataclass(frozen=True)
class Circumstance:
    """Words of the context with how much they draw a user to each item, `pull` (N,) in logits."""

    words: Mapping[str, str]
    pull: FloatArray


def draw_events(
    random: np.random.Generator,
    users: pd.DataFrame,
    items: pd.DataFrame,
    taste: FloatArray,
    circumstances: Sequence[Circumstance],
    follows: FloatArray | None = None,
) -> pd.DataFrame:
    """Events of every user, in file order by user and time: the keys, `timestamp`, the context's words and `fit`.

    The first columns of `users` and `items` are their keys. A user takes an item it has not met with probability
    softmax(taste (U, N) + pull (N,) + follows (N, N) from the item before). `fit` is the item's taste plus pull.
    """
    rows = []
    for row, user in enumerate(users.iloc[:, 0]):
        count = int(random.integers(*EVENTS_PER_USER))
        moments = np.sort(random.integers(0, DAYS * 86_400, count))
        met = np.zeros(len(items))
        before: int | None = None
        for moment, place in zip(moments, random.integers(0, len(circumstances), count), strict=True):
            now = circumstances[place]
            draw = taste[row] + now.pull
            logits = draw + met + (0.0 if follows is None or before is None else follows[before])
            weights = np.exp(logits - logits.max())
            before = int(random.choice(len(items), p=weights / weights.sum()))
            met[before] = -np.inf
            rows.append(
                (user, items.iloc[before, 0], START + pd.Timedelta(moment, "s"), *now.words.values(), draw[before])
            )
    words = [*circumstances[0].words]
    return pd.DataFrame(rows, columns=[users.columns[0], items.columns[0], "timestamp", *words, FIT])


def yes_or_no(random: np.random.Generator, suits: NDArray[np.bool_], often: float, rarely: float) -> NDArray[np.int64]:
    """1 or 0 per event (n,): 1 with probability `often` where the moment suits, `rarely` elsewhere."""
    return (random.random(len(suits)) < np.where(suits, often, rarely)).astype(np.int64)


def dayparts(events: pd.DataFrame) -> pd.Series:
    """The part of the day of each event (n,), in UTC."""
    return events["timestamp"].map(lambda moment: time_context(moment, "UTC")["daypart"])


def tastes(random: np.random.Generator, users: int, kinds: Sequence[str], of_items: Sequence[str]) -> FloatArray:
    """Tastes (U, N) in logits: every user likes two of the kinds, each item is of one."""
    liked = np.zeros((users, len(kinds)))
    for row in liked:
        row[random.choice(len(kinds), 2, replace=False)] = 2.5
    return liked[:, [list(kinds).index(kind) for kind in of_items]]
