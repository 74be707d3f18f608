"""The model: causal, finite without a history, F the towers side by side, items known by their text alone."""

import pytest
import torch

from polytask.model.item_table import ItemTable
from polytask.model.multitask import Histories, MultiTaskModel
from polytask.model.transition import LAGS

ITEMS, USERS, TEXT = 12, 7, 6


@pytest.fixture(scope="module")
def model(small_scenario):
    torch.manual_seed(0)
    texts = torch.randn(ITEMS + 1, TEXT)
    return MultiTaskModel(small_scenario, texts, request_texts=torch.randn(9, TEXT), users=USERS).eval()


@torch.no_grad()
def test_later_items_do_not_change_earlier_states(model):
    catalogues = model.catalogues()
    history = torch.tensor([[0, 0, 0, 4, 5, 6, 7, 8, 9, 10]])
    before = model.histories(history, catalogues)
    for position in range(history.shape[1]):
        changed = history.clone()
        changed[0, position] = 11
        after = model.histories(changed, catalogues)
        difference = (after.state - before.state).abs().amax(dim=-1)[0]
        assert not difference[:position].any()
        assert difference[position] > 1e-4
        # A state that looks back at a real position sees the change.
        assert (difference[position:] > 1e-6).all()
        moved = (after.transition - before.transition).abs().amax(dim=-1)[0] > 1e-6
        assert moved.tolist() == [position <= at < position + LAGS for at in range(history.shape[1])]


@torch.no_grad()
@pytest.mark.parametrize("layers", [1, 2])
def test_the_newest_position_alone_is_what_it_is_among_all(small_scenario, layers):
    torch.manual_seed(3)
    sizes = small_scenario.model.model_copy(update={"layers": layers})
    scenario = small_scenario.model_copy(update={"model": sizes})
    model = MultiTaskModel(scenario, torch.randn(ITEMS + 1, TEXT), torch.randn(9, TEXT), users=USERS).eval()
    catalogues = model.catalogues()
    history = torch.randint(1, ITEMS + 1, (12, scenario.features.history_length))
    length = history.shape[1]
    for row in range(len(history)):
        history[row, : max(0, length - row)] = 0  # row n has the n newest items, the first none
    every = model.histories(history, catalogues)
    newest = model.newest(history, catalogues)
    torch.testing.assert_close(newest.state, every.state[:, -1], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(newest.transition, every.transition[:, -1], rtol=1e-5, atol=1e-6)
    assert (newest.state[0] - newest.state[1]).abs().max() > 1e-3


@torch.no_grad()
def test_padding_counts_for_nothing(model):
    catalogues = model.catalogues()
    history = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 3, 2, 1]])
    before = model.newest(history, catalogues)
    assert not catalogues.transitions.sources[0].any()
    catalogues.vectors["items"][0] = 5.0
    after = model.newest(history, catalogues)
    torch.testing.assert_close(after.state, before.state, rtol=0, atol=0)
    torch.testing.assert_close(after.transition, before.transition, rtol=0, atol=0)


@torch.no_grad()
def test_transition_is_a_weighted_sum_over_the_newest_items(model):
    catalogues = model.catalogues()
    sources, targets = catalogues.transitions
    weights = model.transition.lag_weights
    history = torch.tensor([[0, 0, 0, 0, 0, 0, 0, 3, 2, 1]])
    expected = weights[0] * sources[1] + weights[1] * sources[2] + weights[2] * sources[3]
    got = model.newest(history, catalogues)
    torch.testing.assert_close(got.transition[0], expected)
    text = torch.randn(1, TEXT)
    scores = model.logits(got, text, catalogues)
    without = model.logits(got._replace(transition=torch.zeros(1, sources.shape[1])), text, catalogues)
    torch.testing.assert_close(scores["item"] - without["item"], (targets @ expected)[None], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(scores["user"], without["user"], rtol=0, atol=0)


def test_scores_of_an_empty_history_are_finite(model):
    scores = model.score(torch.zeros(2, 10, dtype=torch.long), torch.randn(2, TEXT))
    shapes = {"item": (2, ITEMS + 1), "user": (2, USERS + 1), "scene": (2, 4)}
    assert {name: tuple(score.shape) for name, score in scores.items()} == shapes
    assert all(torch.isfinite(score).all() for score in scores.values())
    assert all((score[0] != score[1]).any() for score in scores.values())  # the text alone makes the difference


def test_batch_mates_do_not_matter(model):
    history, text = torch.randint(0, ITEMS + 1, (5, 10)), torch.randn(5, TEXT)
    together = model.score(history, text)
    for name, alone in model.score(history[2:3], text[2:3]).items():
        torch.testing.assert_close(together[name][2:3], alone, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_id_dropout_drops_whole_residuals_and_only_in_training():
    torch.manual_seed(1)
    table = ItemTable(torch.randn(201, TEXT), dim=8, id_dropout=0.4)
    by_text = table.projection(table.text_vectors)[1:]
    whole = by_text + table.residual.weight[1:]
    table.eval()
    torch.testing.assert_close(table()[1:], whole)
    table.train()
    rows = table()[1:]
    dropped, kept = (rows == by_text).all(dim=1), (rows == whole).all(dim=1)
    assert (dropped | kept).all()
    assert 50 <= int(dropped.sum()) <= 110  # 80 of 200 expected
    assert (table()[0] == table.empty).all()


def test_text_vectors_are_standardised_without_the_padding_row():
    texts = torch.randn(50, TEXT) * 3 + 2
    texts[0] = 1e6
    table = ItemTable(texts, dim=8, id_dropout=0.0)
    torch.testing.assert_close(table.text_vectors[1:].mean(dim=0), torch.zeros(TEXT), rtol=0, atol=1e-5)
    torch.testing.assert_close(table.text_vectors[1:].std(dim=0), torch.ones(TEXT), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fusion", ["concat", "shared_bottom", "mmoe"])
def test_every_parameter_has_a_gradient(small_scenario, fusion):
    torch.manual_seed(2)
    sizes = small_scenario.model.model_copy(update={"fusion": fusion})
    scenario = small_scenario.model_copy(update={"model": sizes})
    model = MultiTaskModel(scenario, torch.randn(ITEMS + 1, TEXT), torch.randn(9, TEXT), users=USERS)
    catalogues = model.catalogues()
    history = torch.tensor([[0, 0, 0, 4, 5, 6, 7, 8, 9, 10]])
    histories = model.histories(history, catalogues).at(torch.zeros(1, dtype=torch.long))
    logits = model.logits(Histories(*(part[0] for part in histories)), torch.randn(10, TEXT), catalogues)
    sum(logit.square().sum() for logit in logits.values()).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []
