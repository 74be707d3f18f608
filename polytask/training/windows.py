"""Windows of consecutive events of one user: what one training step sees."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW
from polytask.data.dataset import Dataset

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """One batch: W windows of L positions, padded on the left.

    `events` (W, L) are rows of the data set, -1 for padding; `inputs` (W, L) the item rows before each event, and
    `texts` (W, L) rows of the text vectors.
    """

    events: IntArray
    inputs: IntArray
    texts: IntArray


class WindowSampler:
    """Cuts the training events of every user into windows, again for each epoch.

    A random offset per user and epoch moves the cuts, so that over the epochs an event is seen with histories of all
    lengths; the newest events always have a whole window of their own. The number of batches is known beforehand, so
    that a schedule of the learning rate can end where training ends.
    """

    def __init__(self, dataset: Dataset, epochs: int, random: np.random.Generator) -> None:
        self._dataset = dataset
        # Without a history there is nothing that a window's events could learn from each other.
        self._length = dataset.scenario.features.history_length if dataset.scenario.has_items else 1
        self._size = dataset.scenario.training.batch_size
        train = np.flatnonzero(dataset.train)
        self._users = np.split(train, np.flatnonzero(np.diff(dataset.user_rows[train])) + 1)
        counts = np.array([len(events) for events in self._users])
        self._offsets = random.integers(0, np.minimum(counts, self._length), size=(epochs, len(counts)))
        windows = (-(-(counts - self._offsets) // self._length) + (self._offsets > 0)).sum(axis=1)
        self.batches: list[int] = (-(-windows // self._size)).tolist()

    def epoch(self, number: int, random: np.random.Generator) -> Iterator[Windows]:
        """The batches of epoch `number` (from 0), in random order."""
        windows = [
            events[max(0, stop - self._length) : stop]
            for events, offset in zip(self._users, self._offsets[number], strict=True)
            for stop in _stops(len(events), int(offset), self._length)
        ]
        order = random.permutation(len(windows))
        for at in range(0, len(order), self._size):
            chosen = [windows[position] for position in order[at : at + self._size]]
            events = np.full((len(chosen), self._length), -1, dtype=np.int64)
            for position, window in enumerate(chosen):
                events[position, self._length - len(window) :] = window
            yield self._fill(events, random)

    def _fill(self, events: IntArray, random: np.random.Generator) -> Windows:
        """Add the inputs, and a template query in place of the profile on a share of the positions."""
        dataset = self._dataset
        real = events >= 0
        inputs = np.where(real, dataset.previous_rows[events], PADDING_ROW)
        texts = np.where(real, dataset.texts[events], 0)
        requested = real & (random.random(events.shape) < dataset.scenario.training.query_probability)
        query = dataset.queries.draw(dataset.item_rows[events[requested]], random)
        chosen, fits = texts[requested], query >= 0
        chosen[fits] = dataset.query_texts[query[fits], dataset.contexts[events[requested]][fits]]
        texts[requested] = chosen
        return Windows(events, inputs, texts)


def _stops(count: int, offset: int, length: int) -> list[int]:
    """Where windows end: at the newest event, and every `length` events back from `offset` before it."""
    return [count] * (offset > 0) + list(range(count - offset, 0, -length))
