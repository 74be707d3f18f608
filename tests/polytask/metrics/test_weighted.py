"""Weighted statistics: equal to scikit-learn's metrics, and weighted correctly."""

import numpy as np
import pytest
from sklearn import metrics as reference

from polytask.metrics import weighted as statistics
from polytask.metrics.weighted import among, value_of

M = 60


@pytest.fixture(scope="module")
def random():
    return np.random.default_rng(4)


@pytest.fixture(scope="module")
def weights(random):
    return random.multinomial(M, np.full(M, 1 / M), size=5).astype(np.float32)


def test_means_count_a_request_as_often_as_it_was_drawn(random, weights):
    values = random.normal(size=M)
    repeated = [np.repeat(values, row.astype(int)) for row in weights]
    assert statistics.mean_of(values)(weights) == pytest.approx([r.mean() for r in repeated], abs=1e-5)
    expected = [np.sqrt((r**2).mean()) for r in repeated]
    assert statistics.root_mean_of(values**2)(weights) == pytest.approx(expected, abs=1e-5)


def test_auc_is_scikit_learns_with_ties(random, weights):
    scores = random.integers(0, 6, M).astype(float)
    positive = random.random(M) < 0.4
    expected = [reference.roc_auc_score(positive, scores, sample_weight=row) for row in weights]
    assert statistics.auc_of(scores, positive)(weights) == pytest.approx(expected)
    assert np.isnan(value_of(statistics.auc_of(scores, np.ones(M, dtype=bool)), M))


def test_macro_f1_is_scikit_learns(random, weights):
    predicted, actual = random.integers(0, 4, M), random.integers(0, 4, M)
    predicted[predicted == 3] = 2  # a class that is never predicted counts with F1 = 0
    statistic = statistics.macro_f1_of(predicted, actual)
    expected = [reference.f1_score(actual, predicted, average="macro", sample_weight=row) for row in weights]
    assert statistic(weights) == pytest.approx(expected, abs=1e-6)


def test_calibration_error_by_hand():
    # Two bins of one half: 0.25 foretold and one of two came true; 0.75 foretold and all came true.
    probability, positive = np.array([0.2, 0.3, 0.75, 0.75]), np.array([True, False, True, True])
    statistic = statistics.calibration_error_of(probability, positive, bins=2)
    assert value_of(statistic, 4) == pytest.approx(0.5 * 0.25 + 0.5 * 0.25)
    assert float(statistic(np.array([[1, 1, 0, 0]], dtype=np.float32))[0]) == pytest.approx(0.25)


def test_coverage_counts_rows_of_drawn_requests():
    listed = np.array([[1, 2], [2, 3], [4, 0]])
    statistic = statistics.coverage_of(listed, rows=8)
    weights = np.array([[1, 1, 1], [2, 1, 0], [0, 0, 3], [0, 0, 0]], dtype=np.float32)
    assert statistic(weights) == pytest.approx([4 / 8, 3 / 8, 1 / 8, np.nan], nan_ok=True)


def test_a_statistic_among_some_requests_ignores_the_others():
    chosen = np.array([True, False, True])
    statistic = among(statistics.mean_of(np.array([1.0, 3.0])), chosen)
    assert statistic(np.array([[1, 7, 1], [1, 7, 3], [0, 7, 0]], dtype=np.float32)) == pytest.approx(
        [2.0, 2.5, np.nan], nan_ok=True
    )
