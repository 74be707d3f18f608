"""What a request would be without each of its parts: one history item less, or one group of words less."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from polytask.contract.names import CONTEXT, QUERY
from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.data.request import RequestEncoder, RequestFeatures

HISTORY = "history"
PROFILE = "profile"

# One call to the model holds the request itself and, at most, so many of its occlusions.
MAX_PARTS = 64
MAX_QUERY_GROUPS = 8


@dataclass(frozen=True)
class Part:
    """A part of a request, and the request without it. `kind` is history, profile, context or query.

    `name` is the item's external id, the column of the profile, the word of the context, or the place of the group in
    the query; `text` its value.
    """

    kind: str
    name: int | str
    text: str
    without: RequestFeatures


def parts_of(encoder: RequestEncoder, features: RequestFeatures, titles: "Titles") -> list[Part]:
    """The parts of a request that the model reads: groups of words first, then history items, newest first.

    At most MAX_PARTS: of a longer history the newest items. What changes neither text nor history is no part.
    """
    features = as_read(encoder, features)
    text = encoder.text(features)
    words = [part for part in _word_groups(features) if encoder.text(part.without) != text]
    return [*words, *_history(features, titles)][:MAX_PARTS]


def as_read(encoder: RequestEncoder, features: RequestFeatures) -> RequestFeatures:
    """The request with no more history than the model reads: else an older item would take a removed one's place."""
    if encoder.items is None:
        return features
    known = [item for item in features.history if encoder.items.row(item) != PADDING_ROW]
    return replace(features, history=tuple(known[-encoder.scenario.features.history_length :]))


class Titles:
    """Titles of items by their external ids, as in the responses."""

    def __init__(self, items: Catalogue | None, column: str | None) -> None:
        self._items = items
        self._column = column

    def of(self, item: int | str) -> str:
        """The title, '' where there is none."""
        if self._items is None or self._column is None:
            return ""
        value = self._items.table[self._column].iat[self._items.row(item) - 1]
        return value if isinstance(value, str) else ""


def _history(features: RequestFeatures, titles: Titles) -> Iterator[Part]:
    # The item stays among the seen ones: removed from the history it must not be recommended.
    history = list(features.history)
    for position in reversed(range(len(history))):
        item = history[position]
        assert isinstance(item, (int, str))
        rest = (*history[:position], *history[position + 1 :])
        yield Part(HISTORY, item, titles.of(item), replace(features, history=rest))


def _word_groups(features: RequestFeatures) -> Iterator[Part]:
    for name, value in features.profile.items():
        yield Part(PROFILE, name, str(value), replace(features, profile={**features.profile, name: None}))
    for name, value in features.context.items():
        yield Part(CONTEXT, name, str(value), replace(features, context={**features.context, name: None}))
    words = (features.query or "").split()
    for place, (start, end) in enumerate(_spans(len(words), MAX_QUERY_GROUPS)):
        rest = " ".join([*words[:start], *words[end:]])
        yield Part(QUERY, place, " ".join(words[start:end]), replace(features, query=rest))


def _spans(count: int, most: int) -> list[tuple[int, int]]:
    """`count` words in at most `most` neighbouring groups of about the same length."""
    edges: list[int] = np.linspace(0, count, min(count, most) + 1).round().astype(int).tolist()
    return list(pairwise(edges))
