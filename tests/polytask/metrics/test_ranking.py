"""Metrics against examples worked out by hand."""

import numpy as np
import pytest

from polytask.metrics import ranking as metrics

SCORES = np.array([[0.0, 3.0, 1.0, 3.0, 2.0], [0.0, 1.0, 1.0, 1.0, 1.0]], dtype=np.float32)


def test_ranks_and_ties_by_row():
    # First request, best first: rows 1, 3 (a tie, by row), 4, 2, 0.
    assert [int(metrics.ranks_of(SCORES[:1], np.array([row]))[0]) for row in range(5)] == [5, 1, 4, 2, 3]
    assert metrics.ranks_of(SCORES, np.array([3, 3])).tolist() == [2, 3]
    assert metrics.top_rows(SCORES, 3).tolist() == [[1, 3, 4], [1, 2, 3]]


def test_rank_is_the_place_in_the_list():
    scores = np.random.default_rng(0).integers(0, 4, (50, 9)).astype(np.float32)  # many ties
    top = metrics.top_rows(scores, 9)
    for row in range(9):
        ranks = metrics.ranks_of(scores, np.full(50, row))
        assert (top[np.arange(50), ranks - 1] == row).all()


def test_one_relevant_row():
    ranks = np.array([1, 3, 10, 11])
    assert metrics.hit_rate(ranks, 10).tolist() == [1, 1, 1, 0]
    assert metrics.ndcg_of_rank(ranks, 10).tolist() == pytest.approx([1.0, 0.5, 0.2890648, 0.0])
    assert metrics.reciprocal_rank(ranks).tolist() == pytest.approx([1, 1 / 3, 0.1, 1 / 11])
    assert metrics.reciprocal_rank(ranks, 10).tolist() == pytest.approx([1, 1 / 3, 0.1, 0])


def test_precision_and_its_excess():
    positives = np.array([[0, 1, 1, 0], [0, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]], dtype=bool)
    top = np.array([[1, 2], [1, 2], [1, 3], [1, 3]])
    assert metrics.precision(top, positives).tolist() == [1.0, 0.5, 1.0, 0.0]
    # Base rates of rows 1, 2 and 3: 3/4, 1/4 and 1/4. A list [1, 2] or [1, 3] is worth 1/2 by its popularity alone.
    assert metrics.excess_precision(top, positives).tolist() == [0.5, 0.0, 0.5, -0.5]


def test_the_same_list_for_everybody_has_no_excess():
    random = np.random.default_rng(1)
    positives = random.random((40, 30)) < np.linspace(0, 0.9, 30)
    top = np.tile(np.arange(20, 30), (40, 1))
    assert metrics.precision(top, positives).mean() > 0.5
    assert metrics.excess_precision(top, positives).mean() == pytest.approx(0, abs=1e-12)


def test_novelty_is_the_information_in_bits():
    counts = np.array([0, 7, 3, 1, 0])  # with one added: shares 1/2, 1/4, 1/8, 1/16 of 16, and one more row
    counts = np.append(counts, 0)
    listed = np.array([[1, 2], [3, 4], [1, 0], [0, 0]])
    assert metrics.novelty(listed, counts).tolist() == [1.5, 3.5, 1.0, 0.0]


def test_popularity_share_is_that_of_the_first_tenth():
    counts = np.array([0, *range(20)])  # the most frequent two of twenty are rows 19 and 20
    listed = np.array([[20, 19], [19, 1], [1, 2], [20, 0]])
    assert metrics.popularity_share(listed, counts).tolist() == [1.0, 0.5, 0.0, 1.0]


def test_classes():
    scores = np.array([[4.0, 3.0, 2.0, 1.0], [4.0, 3.0, 2.0, 1.0], [1.0, 1.0, 1.0, 1.0]], dtype=np.float32)
    relevant = np.array([[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 1, 1]], dtype=bool)
    second, third = 1 / np.log2(3), 0.5
    expected = [(1 + third) / (1 + second), 0.0, (second + third) / (1 + second + third)]
    assert metrics.ndcg_of_classes(scores, relevant, 3).tolist() == pytest.approx(expected)
    assert metrics.first_is_relevant(scores, relevant).tolist() == [1, 0, 0]


def test_more_places_than_classes():
    scores = np.array([[1.0, 2.0]], dtype=np.float32)
    assert metrics.ndcg_of_classes(scores, np.array([[True, True]]), 5).tolist() == [1.0]
    assert metrics.ndcg_of_classes(scores, np.array([[True, False]]), 5).tolist() == pytest.approx([1 / np.log2(3)])
