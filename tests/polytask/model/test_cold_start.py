"""New items: what they start with is learned from texts, their strength is calibrated, and lists stay mostly known."""

import numpy as np
import pytest
import torch

from polytask.contract.tensors import MASKED_SCORE
from polytask.data.evaluation_requests import split_requests
from polytask.model.cold_start import LOWERED_BY, ColdStart, below_the_first, load_cold_start, save_cold_start
from polytask.updates.add_task import weights_sha256
from polytask.updates.cold_calibration import OFFSETS, OPTIMISM, WARM_LOSS, calibrated, logits_with_new, measured
from polytask.updates.learn_cold_start import learn_cold_start


def test_new_items_stand_below_the_first_others_in_their_order():
    logits = torch.tensor([[MASKED_SCORE, 5.0, 4.0, 3.0, 9.0, 8.0, 1.0], [MASKED_SCORE, 5.0, 4.0, 3.0, 2.0, 8.0, 1.0]])
    new = torch.tensor([False, False, False, False, True, True, True])
    lowered = below_the_first(logits, new, first=2)
    assert lowered.argsort(dim=1, descending=True).tolist() == [[1, 2, 4, 5, 3, 6, 0], [1, 2, 5, 3, 4, 6, 0]]
    assert torch.equal(lowered[:, :4], logits[:, :4])
    assert torch.equal(lowered[:, 6], logits[:, 6])
    assert ((4.0 - lowered[0, 4:6] > 0) & (4.0 - lowered[0, 4:6] <= LOWERED_BY)).all()


def test_new_items_alone_are_listed():
    logits = torch.tensor([[MASKED_SCORE, MASKED_SCORE, MASKED_SCORE, 3.0, 9.0]])
    new = torch.tensor([False, False, False, True, True])
    assert torch.equal(below_the_first(logits, new, first=2), logits)
    assert torch.equal(below_the_first(logits, new, first=4), logits)


@pytest.fixture(scope="module")
def learned(small_training, small_dataset):
    return learn_cold_start(small_training[0], small_dataset, steps=60)


def test_learning_leaves_the_model_alone(small_training, small_dataset):
    model = small_training[0]
    before = weights_sha256(model)
    learn_cold_start(model, small_dataset, steps=2)
    assert weights_sha256(model) == before
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_an_untrained_one_leaves_items_to_their_text(small_training, small_dataset):
    model = small_training[0]
    cold = ColdStart(model.item_table.text_vectors.shape[1], 16).eval()
    start = cold(model.item_table.text_vectors[1:4])
    assert start.items.shape == start.targets.shape == (3, 16)
    assert not any(tensor.any() for tensor in (start.items, start.targets, start.bias))


def test_it_learns_what_items_are_like(small_training, small_dataset, learned):
    """With all other items playing new ones, the next item is found better than by the texts alone."""
    model, (cold, kept) = small_training[0], learned
    assert len(kept) == 6
    requests = split_requests(small_dataset, "train")
    playing = np.setdiff1d(np.arange(1, 61), kept)
    target = torch.from_numpy(small_dataset.item_rows[requests.events])
    requested = torch.from_numpy(~np.isin(target.numpy(), kept))
    losses = []
    for start in (ColdStart(model.item_table.text_vectors.shape[1], 16).eval(), cold):
        logits = torch.from_numpy(logits_with_new(model, start, requests, playing))
        losses.append(float(torch.nn.functional.cross_entropy(logits[requested], target[requested])))
    assert losses[1] < losses[0] - 0.01


def test_calibration_keeps_the_loss_of_the_others_in_bounds(small_training, small_dataset):
    cold, found = calibrated(small_training[0], small_dataset, steps=60)
    assert OFFSETS[0] <= float(cold.offset) <= OFFSETS[-1]
    assert found.warm_loss <= WARM_LOSS / OPTIMISM
    assert found.warm_ndcg == pytest.approx(found.ndcg_alone * (1 - found.warm_loss))


def test_measures_by_hand():
    # Rows 1 to 14; 13 and 14 are new. Request 0 wants 13, request 1 wants 12, the tenth of the others that are left.
    logits = np.tile(np.array([MASKED_SCORE, *np.arange(20, 6, -1)], dtype=np.float32), (2, 1))
    logits[:, 1:3] = MASKED_SCORE
    logits[:, 13:] = 30.0, 29.0
    target, rows = np.array([13, 12]), np.array([13, 14])
    free = measured(logits, target, rows, offset=0.0, capped=False)
    assert (free.recall, free.warm_ndcg, free.share) == (1.0, 0.0, 0.2)
    assert free.ndcg_alone == pytest.approx(1 / np.log2(11))
    assert free.warm_loss == 1.0
    capped = measured(logits, np.array([13, 7]), rows)  # row 7 is the fifth of the others
    assert (capped.recall, capped.warm_loss, capped.share) == (1.0, 0.0, 0.2)
    weak = measured(logits, target, rows, offset=-100.0)
    assert (weak.recall, weak.warm_loss, weak.share) == (0.0, 0.0, 0.0)


def test_saved_and_loaded(learned, tmp_path):
    cold, _ = learned
    assert load_cold_start(tmp_path) == (None, pytest.approx([]))
    save_cold_start(cold, np.array([61, 62]), tmp_path)
    again, new_rows = load_cold_start(tmp_path)
    assert new_rows.tolist() == [61, 62]
    texts = torch.randn(4, cold.linear.in_features, generator=torch.Generator().manual_seed(0))
    for name in ("items", "targets", "bias"):
        assert torch.equal(getattr(cold(texts), name), getattr(again(texts), name))
