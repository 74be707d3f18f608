"""Held-out items: none of them remains in the training data, and the report measures them as documented."""

import numpy as np
import pytest
import torch

from polytask.experiment.held_out_items import _text_knn, cold_report, hold_out
from polytask.jobs.inputs import item_texts
from polytask.training.loop import train


@pytest.fixture(scope="module")
def encode(language_model):
    return lambda texts: language_model.vectors(texts)[0]


@pytest.fixture(scope="module")
def held(small_dataset, encode):
    return hold_out(small_dataset, encode, seed=3)


def test_nothing_of_the_held_out_items_is_left(small_dataset, held):
    assert len(held.rows) == 6
    assert not np.isin(held.dataset.item_rows, held.rows).any()
    assert not np.isin(held.dataset.previous_rows, held.rows).any()
    items = small_dataset.catalogues["items"]
    hidden = {items.external(int(row)) for row in held.rows}
    for dataset in (held.dataset, held.requests.dataset):
        for column in ("history", "seen"):
            assert not hidden & {item for seen in dataset.events[column] for item in seen}
    removed = np.isin(small_dataset.item_rows, held.rows).sum()
    assert len(held.dataset.events) == len(small_dataset.events) - removed
    assert held.share_of_events == removed / len(small_dataset.events)
    assert len(held.dataset.catalogues["items"]) == 60


def test_the_requests_ask_for_held_out_items_late_in_a_timeline(small_dataset, held):
    wanted = held.requests.dataset
    assert len(held.requests) > 10
    assert np.isin(wanted.item_rows, held.rows).all()
    events = small_dataset.events
    place = events.groupby("user_id")["event_id"].cumcount() / events.groupby("user_id")["event_id"].transform("size")
    late = dict(zip(events["event_id"], place, strict=True))
    assert min(late[event] for event in wanted.events["event_id"]) >= 0.8
    assert (held.requests.history != 0).any(axis=1).all()
    assert not np.isin(held.requests.seen, held.rows).any()


def test_report(small_dataset, held, encode, language_model):
    vectors = torch.from_numpy(language_model.vectors(item_texts(small_dataset))[0])
    report = cold_report(small_dataset, encode, lambda dataset: train(dataset, vectors)[0], seed=3)
    recall = report["recall@10"]
    low, high = recall["interval"]
    assert 0 <= low <= recall["mean"] <= high <= 1
    assert report["settings"]["items"] == 6
    assert report["settings"]["requests"] == len(held.requests)
    assert report["warm_loss"] == pytest.approx(1 - report["warm_ndcg@10"] / report["ndcg@10_without_new_items"])
    assert report["recall@10_by_offset"]["+0.0"] == recall["mean"]
    assert report["warm_loss_by_offset"]["+0.0"] == report["warm_loss"]
    recalls = list(report["recall@10_by_offset"].values())
    assert recalls == sorted(recalls)


def test_neighbours_of_the_history_by_text(small_training, held):
    scores = _text_knn(small_training[0], held)
    assert np.isneginf(scores[:, 0]).all()
    assert np.isneginf(np.take_along_axis(scores, held.requests.seen, axis=1)).all()
    request = 0
    vectors = small_training[0].item_table.text_vectors.numpy()
    history = [row for row in held.requests.history[request] if row]
    row = int(held.rows[0])
    cosines = [
        vectors[row] @ vectors[other] / np.linalg.norm(vectors[row]) / np.linalg.norm(vectors[other])
        for other in history
    ]
    assert scores[request, row] == pytest.approx(sum(cosines), rel=1e-4)
