"""Training: repeatable, and it learns."""

import copy

import numpy as np
import pytest
import torch

from polytask.tasks.retrieval.learning import next_item_loss
from polytask.training.loop import build_model, train
from polytask.training.task_losses import TaskLosses
from polytask.training.windows import WindowSampler
from tests.polytask.random_vectors import ITEM_VECTORS, dataset_with


def test_same_seed_same_weights(small_dataset, tables):
    runs = [train(dataset_with(small_dataset, tables, seed=seed), ITEM_VECTORS)[0] for seed in (3, 3, 4)]
    first, again, other = (run.state_dict() for run in runs)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["item_table.residual.weight"], other["item_table.residual.weight"])


def test_loss_falls_for_every_task(small_dataset, tables):
    seen = []
    model, history = train(dataset_with(small_dataset, tables, epochs=8, learning_rate=0.01), ITEM_VECTORS, seen.append)
    assert [epoch.number for epoch in history] == list(range(1, 9))
    assert seen == history
    assert not model.training
    for task in ("item", "user", "scene"):
        assert history[-1].losses[task] < history[0].losses[task] - 0.02
    assert history[0].losses["item"] < np.log(60) + 0.5  # a uniform guess over 60 items costs log 60


def test_items_without_a_training_event_stay_out_of_the_softmax(small_dataset):
    dataset = copy.copy(small_dataset)
    untrained = [3, 17]
    dataset.train = small_dataset.train & ~np.isin(small_dataset.item_rows, untrained)
    candidates = np.flatnonzero(TaskLosses(dataset).data.item_candidates.numpy()).tolist()
    assert candidates == sorted(set(small_dataset.item_rows[small_dataset.train].tolist()) - set(untrained))
    assert len(candidates) == len(set(small_dataset.item_rows[small_dataset.train].tolist())) - 2
    assert 0 not in candidates


def test_loss_of_a_batch_is_that_of_its_real_positions(small_dataset):
    torch.manual_seed(0)
    model = build_model(small_dataset, ITEM_VECTORS).eval()
    random = np.random.default_rng(2)
    windows = next(WindowSampler(small_dataset, 1, random).epoch(0, random))
    assert (windows.events < 0).any()
    batches = TaskLosses(small_dataset)
    with torch.no_grad():
        losses = batches(model, windows)
        catalogues = model.catalogues()
        histories = model.histories(torch.from_numpy(windows.inputs), catalogues)
        logits, targets, candidates = [], [], []
        for window, position in np.argwhere(windows.events >= 0).tolist():
            text = small_dataset.text_vectors[windows.texts[window, position]]
            at = (torch.tensor([window]), torch.tensor([position]))
            scores = model.logits(histories.at(at), torch.from_numpy(text)[None], catalogues)
            logits.append(scores["item"][0])
            event = int(windows.events[window, position])
            targets.append(int(small_dataset.item_rows[event]))
            # An item that the user has seen is no candidate: serving never returns it.
            earlier = small_dataset.user_rows[:event] == small_dataset.user_rows[event]
            unseen = batches.data.item_candidates.clone()
            unseen[torch.from_numpy(small_dataset.item_rows[:event][earlier])] = False
            candidates.append(unseen)
        expected = next_item_loss(torch.stack(logits), torch.tensor(targets), torch.stack(candidates))
    assert float(losses["item"]) == pytest.approx(float(expected), rel=1e-5)


def test_the_user_itself_is_no_candidate_for_its_own_peers(small_dataset):
    torch.manual_seed(0)
    task = small_dataset.scenario.task("user")
    events = np.flatnonzero(small_dataset.train & small_dataset.labels["user"].mask)[:20]
    logits = torch.randn(len(events), 31, requires_grad=True)
    TaskLosses(small_dataset).task_loss(task, logits, events).backward()
    itself = torch.from_numpy(small_dataset.user_rows[events])
    assert not logits.grad[torch.arange(len(events)), itself].any()
    assert not logits.grad[:, 0].any()
    assert (logits.grad != 0).sum(dim=1).tolist() == [29] * len(events)


def test_an_item_met_again_is_no_target(small_dataset):
    next_item = TaskLosses(small_dataset).loss_of(small_dataset.scenario.task("item"))
    events = np.flatnonzero(small_dataset.train)[:5]
    logits = torch.randn(5, 61, requires_grad=True)
    again = torch.from_numpy(small_dataset.item_rows[events])
    again[4] = again[0]  # the user of the first events meets the first item again
    loss, _ = next_item(logits, again, events)
    loss.backward()
    assert not logits.grad[4].any()
    assert logits.grad[:4].any(dim=1).all()
    only_again, _ = next_item(logits, again[4:], events[4:])
    assert only_again.item() == 0.0


@pytest.mark.parametrize("weighting", ["uncertainty", "dwa"])
def test_weights_that_change_are_logged_per_epoch(small_dataset, tables, weighting):
    _, history = train(dataset_with(small_dataset, tables, epochs=4, loss_weighting=weighting), ITEM_VECTORS)
    weights = [epoch.weights for epoch in history]
    assert all(set(weight) == {"item", "user", "scene"} for weight in weights)
    assert weights[-1] != weights[0]
