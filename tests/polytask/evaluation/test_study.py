"""Methods side by side: seeds, paired differences with a verdict, slices, and what is left out."""

import numpy as np
import pytest

from polytask.data.evaluation_requests import split_requests
from polytask.evaluation.slices import rare_items, slices_of
from polytask.evaluation.study import MODEL, Key, Study, merged, study
from polytask.evaluation.summary import summary_of
from polytask.metrics.bootstrap import Sampled
from tests.polytask.tiny import tiny_dataset

RESAMPLES = 200


@pytest.fixture(scope="module")
def requests(small_dataset):
    return split_requests(small_dataset, "test")


@pytest.fixture(scope="module")
def found(small_dataset, requests):
    """An oracle, chance with two seeds, and a constant, for the tasks item and scene."""
    item, scene = (small_dataset.labels[name] for name in ("item", "scene"))

    def oracle(requests):
        scores = np.zeros((len(requests), 61), dtype=np.float32)
        scores[np.arange(len(requests)), item.values[requests.events].astype(int)] = 1
        return {"item": scores, "scene": scene.of(requests.events, small_dataset.item_rows).astype(np.float32)}

    def chance(seed):
        random = np.random.default_rng(seed)
        return lambda requests: {"item": random.random((len(requests), 61), dtype=np.float32)}

    def constant(requests):
        return {"item": np.tile(np.arange(61, dtype=np.float32), (len(requests), 1))}

    methods = {MODEL: [oracle], "chance": [chance(1), chance(2)], "constant": [constant]}
    return study(requests, small_dataset.scenario.tasks, methods, RESAMPLES)


def test_every_seed_stands_beside_their_mean(found):
    hits = found.metrics("chance", "item")["hr@10"]
    assert len(hits["seeds"]) == 2
    assert hits["mean"] == pytest.approx(np.mean(hits["seeds"]))
    assert hits["interval"][0] < hits["mean"] < hits["interval"][1]
    assert found.metrics(MODEL, "item")["hr@10"] == {"mean": 1.0, "seeds": [1.0], "interval": [1.0, 1.0]}


def test_differences_have_a_verdict(found):
    against = found.differences(MODEL, "chance", "item")
    assert against["hr@10"]["verdict"] == "better"
    assert against["hr@10"]["mean"] == pytest.approx(1 - found.metrics("chance", "item")["hr@10"]["mean"])
    assert found.differences("chance", MODEL, "item")["hr@10"]["verdict"] == "worse"
    assert found.differences("chance", "constant", "item")["hr@10"]["verdict"] == "level"
    assert found.differences("chance", "constant", "item")["coverage"]["verdict"] == "better"
    assert "novelty" not in against  # neither good nor bad


def test_less_error_is_better():
    samples = {
        Key("", "stars", method, 0, "mae"): Sampled(value, np.full(3, value))
        for method, value in ((MODEL, 1.0), ("b", 2.0))
    }
    found = Study(3, samples, {}, {("stars", MODEL): 1, ("stars", "b"): 1})
    assert found.differences(MODEL, "b", "stars")["mae"] == {
        "mean": -1.0,
        "interval": [-1.0, -1.0],
        "verdict": "better",
    }
    assert found.differences("b", MODEL, "stars")["mae"]["verdict"] == "worse"


def test_a_task_that_a_method_does_not_answer_is_left_out(found):
    assert found.methods("item") == [MODEL, "chance", "constant"]
    assert found.methods("scene") == [MODEL]
    assert found.methods("user") == []
    assert found.metrics("chance", "scene") == found.differences(MODEL, "chance", "scene") == {}


def test_a_slice_is_the_mean_over_its_requests(small_dataset, requests, found):
    known = (requests.seen > 0).sum(axis=1)
    few = known <= 20
    assert 0 < few.sum() < len(requests)
    assert found.slices["new_users"][1] == few.sum()
    item = small_dataset.labels["item"].values[requests.events].astype(int)
    # The constant lists the unseen items with the highest rows.
    better = [(~np.isin(np.arange(item[n] + 1, 61), requests.seen[n])).sum() for n in range(len(requests))]
    expected = np.mean((np.array(better) < 10)[few])
    sliced = found.metrics("constant", "item", "new_users")
    assert sliced["hr@10"]["mean"] == pytest.approx(expected)
    assert "coverage" not in sliced


def test_rare_items_share_half_of_the_events(small_scenario, small_dataset):
    # Training events of items 1 to 5: 3 4 2 0 0. Item 2 and then item 1 take the first half.
    assert np.flatnonzero(rare_items(tiny_dataset(small_scenario))).tolist() == [3, 4, 5]
    counts = np.bincount(small_dataset.item_rows[small_dataset.train], minlength=61)
    rare = rare_items(small_dataset)
    assert counts[rare].sum() <= counts.sum() / 2 < counts[rare].sum() + counts[~rare].max()


def test_texts_are_sliced_by_length_where_there_is_no_history(text_only_scenario, notes):
    from polytask.data.catalogue import catalogues_of
    from polytask.data.dataset import Dataset
    from tests.text_only import text_only_training_frame

    frame = text_only_training_frame(text_only_scenario, notes)
    dataset = Dataset(
        text_only_scenario, frame, catalogues_of(text_only_scenario, notes), lambda texts: np.zeros((len(texts), 2))
    )
    requests = split_requests(dataset, "test")
    slices = slices_of(requests)
    assert list(slices) == ["short_texts", "long_texts"]
    words = np.array([len(text.split()) for text in requests.texts])
    assert words[slices["short_texts"].chosen].max() < words[slices["long_texts"].chosen].min()


def test_methods_for_different_tasks_merge(requests):
    both = merged([lambda _: {"item": np.zeros(1)}, lambda _: {"scene": np.ones(1)}])(requests)
    assert list(both) == ["item", "scene"]


def test_the_summary_has_the_demos_names(small_scenario, found):
    content = summary_of(small_scenario, [3], {"test": found}, {"item": {}}, {}, RESAMPLES)
    assert content["test"]["metrics"]["item"]["hr@10"]["mean"] == 1.0
    assert content["test"]["baselines"] == {"item": {}, "user": {}, "scene": {}}
    assert content["differences"]["test"]["item"]["chance"]["hr@10"]["verdict"] == "better"
    assert content["slices"]["test"]["new_users"]["tasks"]["item"]["chance"]["hr@10"]["seeds"]
