"""The bootstrap: intervals as wide as in theory, and pairs that share their noise."""

import numpy as np
import pytest

from polytask.metrics.bootstrap import Sampled, average, sampled
from polytask.metrics.weighted import coverage_of, mean_of

M = 400


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).normal(1.0, 2.0, M)


def test_the_interval_of_a_mean_is_that_of_the_normal(values):
    found = sampled({"mean": mean_of(values)}, M)["mean"]
    error = values.std() / np.sqrt(M)
    assert found.value == pytest.approx(values.mean(), abs=1e-5)
    assert found.interval() == pytest.approx((values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.03)


def test_the_difference_of_a_pair_is_sharper_than_its_parts(values):
    both = sampled({"one": mean_of(values + 0.1), "other": mean_of(values)}, M)
    low, high = (both["one"] - both["other"]).interval()
    assert (low, high) == pytest.approx((0.1, 0.1), abs=1e-4)
    assert both["one"].interval()[0] < both["other"].interval()[1]  # alone they overlap


def test_it_is_repeatable_and_does_not_depend_on_the_chunks(values, monkeypatch):
    whole = sampled({"mean": mean_of(values)}, M, resamples=50)["mean"]
    monkeypatch.setattr("polytask.metrics.bootstrap.CHUNK", 7 * M)
    assert sampled({"mean": mean_of(values)}, M, resamples=50)["mean"].resamples == pytest.approx(whole.resamples)


def test_a_metric_that_resampling_lowers_still_lies_in_its_interval():
    listed = np.arange(1, M + 1)[:, None]  # everybody has a row of its own: coverage 1, of a resample about 0.63
    found = sampled({"coverage": coverage_of(listed, M)}, M, resamples=100)["coverage"]
    assert found.resamples.max() < 0.75
    low, high = found.interval()
    assert low < found.value == 1.0 < high
    assert high - low < 0.2


def test_seeds_are_averaged_resample_by_resample():
    mean = average([Sampled(1.0, np.array([1.0, 3.0])), Sampled(2.0, np.array([2.0, 0.0]))])
    assert (mean.value, mean.resamples.tolist()) == (1.5, [1.5, 1.5])
