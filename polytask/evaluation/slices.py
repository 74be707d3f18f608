"""Slices of the requests by user and by target. Each slice is measured like the whole split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests

BoolArray = NDArray[np.bool_]

SHORT_HISTORY = 20
LONG_HISTORY = 100
# Of the texts, the third with the fewest and the third with the most words.
TEXT_SHARE = 1 / 3


@dataclass(frozen=True)
class Slice:
    """Some of the requests, `chosen` (m,), and what they have in common."""

    meaning: str
    chosen: BoolArray


def slices_of(requests: Requests) -> dict[str, Slice]:
    """The slices of a split by name. Without items there is no history, and slices are by text length."""
    if requests.dataset.scenario.has_items:
        known = (requests.seen != PADDING_ROW).sum(axis=1)
        rare = rare_items(requests.dataset)[requests.dataset.item_rows[requests.events]]
        return {
            "new_users": Slice(f"at most {SHORT_HISTORY} events before", known <= SHORT_HISTORY),
            "long_histories": Slice(f"at least {LONG_HISTORY} events before", known >= LONG_HISTORY),
            "rare_items": Slice(
                "the event's item is among the rarer ones that share half of the training events", rare
            ),
        }
    words = np.array([len(text.split()) for text in requests.texts])
    low, high = np.quantile(words, [TEXT_SHARE, 1 - TEXT_SHARE])
    return {
        "short_texts": Slice(f"at most {low:.0f} words", words <= low),
        "long_texts": Slice(f"at least {high:.0f} words", words >= high),
    }


def rare_items(dataset: Dataset) -> BoolArray:
    """Which item rows (N + 1,) are left when those with the most events have taken half of the training events."""
    counts = np.bincount(dataset.item_rows[dataset.train], minlength=len(dataset.catalogues["items"]) + 1)
    counts[PADDING_ROW] = 0
    order = np.argsort(-counts, kind="stable")
    before = np.cumsum(counts[order]) - counts[order]
    rare = np.zeros(len(counts), dtype=np.bool_)
    rare[order] = before >= counts.sum() / 2
    rare[PADDING_ROW] = False
    return rare
