"""The whole evaluation on the small scenario: every section of metrics.json, and a second run that trains nothing."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from polytask.data.evaluation_requests import Requests, split_requests
from polytask.data.labels import TaskLabels
from polytask.evaluation.calibration import reliability
from polytask.evaluation.examples import examples
from polytask.evaluation.previous import previous_method
from polytask.scenario.schema import Label, Task
from polytask.training.checkpoint import load_checkpoint


def test_every_section_is_there(runs):
    content = json.loads(json.dumps(runs[0][0], allow_nan=False))
    for split in ("validation", "test"):
        for task, metrics in content[split]["metrics"].items():
            for baseline in [metrics, *content[split]["baselines"][task].values()]:
                for value in baseline.values():
                    low, high = value["interval"]
                    assert low <= value["mean"] <= high
            assert all(len(value["seeds"]) == 2 for value in metrics.values())
    assert content["test"]["baselines"]["item"].keys() == {"popularity", "markov", "item_knn", "ease", "ials"}
    assert content["ablations"].keys() == {"id_only", "random_vectors", "single_task"}
    for variant in content["ablations"].values():
        assert variant["test"].keys() == {"item", "user", "scene"}
        assert variant["test"]["item"]["ndcg@10"]["gain"]["interval"]
    assert content["cold"]["settings"]["items"] == 6
    assert content["cold"]["recall@10"].keys() == {"mean", "seeds", "interval"}
    assert [row["query"] for row in content["queries"]] == ["something to laugh about", "a cowboy or a ghost"]
    assert content["seconds"]["train"].keys() >= {"seed-3", "seed-4", "id_only-3"}
    assert len(content["training"]["4"]) == 2
    assert content["settings"]["baselines"]["item"]["markov"]["tried"] == 9
    assert content["slices"]["test"]["rare_items"]["tasks"]["item"]["polytask"]["hr@10"]


def test_the_previous_model_is_compared(runs):
    content = runs[0][0]
    # The same scenario and seed as the first of the two: only the second seed makes a difference.
    previous = content["test"]["previous"]["item"]["ndcg@10"]["mean"]
    assert previous == pytest.approx(content["test"]["metrics"]["item"]["ndcg@10"]["seeds"][0], abs=1e-6)
    assert "previous" in content["differences"]["test"]["item"]


def test_a_second_run_trains_nothing_and_finds_the_same(runs):
    (first, done_first, _), (second, done_second, _) = runs
    assert sum("trained in" in line for line in done_first) == 8
    assert all("reused" in line for line in done_second)
    assert second["test"] == first["test"]
    assert second["ablations"] == first["ablations"]


def test_a_variant_is_no_ordinary_checkpoint(runs, language_model):
    output = runs[0][2]
    assert load_checkpoint(output / "seed-4", language_model.sha256)
    with pytest.raises(Exception, match=r"trained on encoder .* id_only"):
        load_checkpoint(output / "id_only-3", language_model.sha256)


def test_examples_name_titles_and_what_was_right(small_training, small_dataset):
    found = examples(small_training[0], small_dataset)
    assert len(found) == 10
    requests = split_requests(small_dataset, "test")
    items = small_dataset.catalogues["items"].table.set_index("item_id")
    titles = items["title"].to_dict()
    event = small_dataset.events.iloc[requests.events[0]]
    first = found[0]
    assert first["user"] == str(event["user_id"])
    assert first["target"] == titles[event["item_id"]]
    assert first["history"] == [titles[item] for item in list(event["history"])[-8:]]
    listed = first["tasks"]["item"]["listed"]
    assert len(listed) == 5
    assert [entry["right"] for entry in listed] == [entry["title"] == first["target"] for entry in listed]
    ranks = [example["tasks"]["item"]["rank"] for example in found]
    hits = [any(entry["right"] for entry in example["tasks"]["item"]["listed"]) for example in found]
    assert hits == [rank is not None and rank <= 5 for rank in ranks]
    assert 0 < sum(hits) < 10
    assert first["tasks"]["scene"]["label"] == list(items["genres"][event["item_id"]])
    shares = [entry["probability"] for entry in first["tasks"]["scene"]["classes"]]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)


def test_a_previous_model_knows_no_appended_rows(small_dataset, small_checkpoint, language_model):
    updated = SimpleNamespace(**vars(small_dataset))
    updated.catalogues = {"items": range(63), "users": range(30)}
    requests = split_requests(small_dataset, "test")
    history = requests.history.copy()
    history[:, -1] = 62
    requested = Requests(updated, requests.events, history, requests.seen)
    scores = previous_method(small_checkpoint, small_dataset, language_model)(requested)
    assert scores["item"].shape == (30, 64)
    assert np.isneginf(scores["item"][:, 61:]).all()
    assert np.isfinite(scores["item"][:, :61]).all()
    assert scores["user"].shape == (30, 31)


def test_reliability_by_hand():
    task = Task(name="t", title="", kind="binary", label=Label(source="interaction", column="rating"))
    labels = TaskLabels(mask=np.array([True] * 4 + [False]), values=np.array([1, 0, 1, 1, 0], dtype=np.float32))
    data = SimpleNamespace(labels={"t": labels}, item_rows=np.zeros(5, dtype=np.int64))
    none = np.zeros((5, 0), dtype=np.int64)
    logit = np.log(np.array([0.22, 0.28, 0.75, 1.0 - 1e-9, 0.5]))
    logit -= np.log1p(-np.exp(logit))
    points = reliability(Requests(data, np.arange(5), none, none), task, logit.astype(np.float32)[:, None])
    assert [point["requests"] for point in points] == [2, 1, 1]
    assert [point["share"] for point in points] == [0.5, 1, 1]
    assert [point["probability"] for point in points] == pytest.approx([0.25, 0.75, 1.0])
