"""Paired bootstrap: the same resampled requests for every method, so that their differences have intervals too.

Intervals cover the choice of requests at 95%. They do not cover the choice of seeds: those are listed one by one.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from polytask.metrics.weighted import FloatArray, Statistic, once

Key = TypeVar("Key", bound=Hashable)

RESAMPLES = 2000
SEED = 20_240_501
TAILS = (2.5, 97.5)
# Weights drawn at a time, in numbers: bounds memory for large splits.
CHUNK = 4_000_000


@dataclass(frozen=True)
class Sampled:
    """A metric's `value`, and its values over the resamples (b,)."""

    value: float
    resamples: FloatArray

    def interval(self) -> tuple[float, float]:
        """The middle 95% of the resamples, moved so that their mean is the value.

        Resampling itself shifts metrics that are no means (fewer distinct requests cover less of a catalogue, and
        calibrate worse); for means the shift is nought.
        """
        if not np.isfinite(self.resamples).any():
            return (float("nan"), float("nan"))
        low, high = np.nanpercentile(self.resamples, TAILS)
        shift = self.value - np.nanmean(self.resamples)
        return (float(low + shift), float(high + shift))

    def __sub__(self, other: "Sampled") -> "Sampled":
        """The paired difference."""
        return Sampled(self.value - other.value, self.resamples - other.resamples)


def average(samples: Sequence[Sampled]) -> Sampled:
    """The mean over seeds, resample by resample."""
    return Sampled(
        float(np.mean([sample.value for sample in samples])), np.mean([sample.resamples for sample in samples], axis=0)
    )


def sampled(
    statistics: Mapping[Key, Statistic], requests: int, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[Key, Sampled]:
    """Every statistic over all `requests` and over `resamples` draws of as many with replacement."""
    random = np.random.default_rng(seed)
    drawn: dict[Key, list[FloatArray]] = {key: [] for key in statistics}
    left = resamples
    while left > 0:
        rows = min(left, max(1, CHUNK // requests))
        weights = random.multinomial(requests, np.full(requests, 1 / requests), size=rows).astype(np.float32)
        for key, statistic in statistics.items():
            drawn[key].append(statistic(weights))
        left -= rows
    every = once(requests)
    return {key: Sampled(float(s(every)[0]), np.concatenate(drawn[key])) for key, s in statistics.items()}
