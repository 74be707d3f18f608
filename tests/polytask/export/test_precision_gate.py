"""The precision gate: which predictions count as equal, what counts as a loss, and which models pass."""

import numpy as np
import pytest

from polytask.contract.contract import TaskFigures
from polytask.data.evaluation_requests import split_requests
from polytask.export.precision_gate import PrecisionGate, agreement, failures, gate_requests, task_figures
from polytask.scenario.schema import Task


@pytest.fixture(scope="module")
def requests(small_dataset):
    return gate_requests(small_dataset)[0]


@pytest.fixture(scope="module")
def gate(small_dataset, small_training):
    return PrecisionGate(small_dataset, small_training[0])


def encoder(dataset, noise):
    """The text vectors of float32 with noise of a share of their spread."""
    number = {text: row for row, text in enumerate(dataset.distinct_texts)}
    random = np.random.default_rng(0)
    spread = dataset.text_vectors.std(axis=0)

    def encode(texts):
        vectors = dataset.text_vectors[[number[text] for text in texts]]
        return (vectors + noise * spread * random.normal(size=vectors.shape)).astype(np.float32)

    return encode


def test_requests_are_asked_with_profile_and_with_query(small_dataset):
    validation = split_requests(small_dataset, "validation")
    requests, texts = gate_requests(small_dataset)
    half = len(validation)
    assert len(requests) == len(texts) == 2 * half
    assert np.array_equal(requests.events[:half], requests.events[half:])
    requested = [small_dataset.distinct_texts[text] for text in texts]
    assert requested[:half] == validation.texts
    for event, text in zip(requests.events[half:], requested[half:], strict=True):
        genres = small_dataset.catalogues["items"].record(small_dataset.item_rows[event])["genres"]
        assert any(text.startswith(f"a {genre} film") for genre in (", ".join(genres), *genres))


def test_the_same_vectors_pass(small_dataset, small_scenario, gate):
    figures = gate.figures(encoder(small_dataset, 0.0))
    assert list(figures) == [task.name for task in small_scenario.tasks]
    for task in figures.values():
        assert task.agreement == 1.0
        assert task.loss == 0.0
        assert task.interval == (0.0, 0.0)
        assert task.float32 > 0
    assert failures(figures) == []


def test_noise_fails(small_dataset, gate):
    little, much = (gate.figures(encoder(small_dataset, noise)) for noise in (0.05, 2.0))
    for name in little:
        assert 1.0 >= little[name].agreement > much[name].agreement
    assert any("agreement" in line for line in failures(much))


def test_a_loss_beyond_the_noise_fails_and_one_within_does_not(small_dataset, requests, small_scenario):
    task = small_scenario.task("scene")
    relevant = requests.labels(task).astype(np.float32)
    assert len(relevant) == len(requests)
    wrong = 1 - relevant
    few = relevant.copy()
    few[:1] = wrong[:1]
    assert task_figures(requests, task, relevant, wrong).interval[0] > 0
    figures = task_figures(requests, task, relevant, few)
    assert figures.interval[0] <= 0 < figures.interval[1]
    assert figures.loss > 0
    gain = task_figures(requests, task, wrong, relevant)
    assert gain.loss < 0
    assert gain.interval[1] < 0


def test_failures_name_task_and_figures():
    good = TaskFigures(agreement=0.95, metric="mae", float32=1.0, loss=0.1, interval=(-0.1, 0.3))
    assert failures({"a": good, "b": TaskFigures(agreement=1.0, metric="auc")}) == []
    bad = TaskFigures(agreement=0.9, metric="mae", float32=1.0, loss=0.2, interval=(0.1, 0.3))
    assert failures({"x": bad}) == [
        "x: agreement 0.9 with float32, at least 0.95 is wanted",
        "x: mae loses 0.2, beyond its noise (0.1, 0.3)",
    ]


def of_kind(kind, classes=None):
    label = {"source": "interaction", "column": "rating"}
    return Task(name="t", title="T", kind=kind, label=label, classes=classes)


def test_agreement_of_other_kinds(requests):
    one = np.array([[1.0], [-1.0], [2.0], [3.0]], dtype=np.float32)
    assert agreement(requests, of_kind("binary"), one, one * np.array([[1], [1], [-1], [1]])) == 0.75
    assert agreement(requests, of_kind("regression"), one, 2 * one + 1) == pytest.approx(1.0)
    assert agreement(requests, of_kind("regression"), one, -one) == pytest.approx(-1.0)
    constant = np.ones_like(one)
    assert agreement(requests, of_kind("regression"), constant, constant) == 1.0
    assert agreement(requests, of_kind("regression"), constant, one) == 0.0
    classes = ("a", "b", "c", "d")
    scores = np.array([[4.0, 3, 2, 1], [1, 2, 3, 4]], dtype=np.float32)
    other = np.array([[3.0, 4, 2, 1], [1, 4, 2, 3]], dtype=np.float32)
    assert agreement(requests, of_kind("multiclass", classes), scores, other) == 0.0
    # Half of the classes: {a, b} and {a, b}; {c, d} and {b, d}.
    assert agreement(requests, of_kind("multilabel", classes), scores, other) == 0.75


def test_agreement_of_lists_leaves_out_what_may_not_be_listed(requests, small_dataset, small_scenario):
    task = small_scenario.task("item")
    rows = len(small_dataset.catalogues["items"]) + 1
    scores = np.tile(np.arange(rows, dtype=np.float32), (len(requests), 1))
    seen = scores.copy()
    np.put_along_axis(seen, requests.seen, 1e6, axis=1)  # of seen items and padding, scores do not matter
    assert agreement(requests, task, scores, seen) == 1.0
    assert agreement(requests, task, scores, -scores) < 0.5
