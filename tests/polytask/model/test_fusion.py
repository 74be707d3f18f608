"""The ways to share: each head reads what its fusion promises, and nothing else."""

import pytest
import torch

from polytask.model.fusion import ConcatFusion, MMoE, SharedBottomFusion

TASKS, DIM = ["a", "b", "c"], 4
FUSIONS = {
    "concat": lambda: ConcatFusion(TASKS, DIM, dropout=0.5),
    "shared_bottom": lambda: SharedBottomFusion(TASKS, DIM, dropout=0.5),
    "mmoe": lambda: MMoE(TASKS, DIM, dropout=0.5, experts=5),
}


@torch.no_grad()
@pytest.mark.parametrize("name", FUSIONS)
def test_widths_are_those_announced(name):
    fusion = FUSIONS[name]().eval()
    state = torch.randn(3, 2, DIM)
    shared = fusion.shared(state)
    assert shared.shape == (3, 2, fusion.shared_dim)
    of_tasks = fusion.of_tasks(state, shared)
    assert list(of_tasks) == TASKS
    assert all(part.shape == (3, 2, fusion.task_dim) for part in of_tasks.values())


@torch.no_grad()
def test_concat_is_the_towers_side_by_side_for_every_head():
    fusion = FUSIONS["concat"]().eval()
    state = torch.randn(3, 2, DIM)
    fused = fusion.of_tasks(state, fusion.shared(state))["b"]
    for position, name in enumerate(TASKS):
        torch.testing.assert_close(fused[..., DIM * position : DIM * (position + 1)], fusion.towers[name](state))
    assert (fused[..., :DIM] != fused[..., DIM : 2 * DIM]).any()


@torch.no_grad()
def test_shared_bottom_puts_each_tower_on_the_bottom():
    fusion = FUSIONS["shared_bottom"]().eval()
    state = torch.randn(6, DIM)
    of_tasks = fusion.of_tasks(state, fusion.shared(state))
    torch.testing.assert_close(of_tasks["c"], fusion.towers["c"](fusion.bottom(state)))


@torch.no_grad()
def test_mixture_weighs_its_experts_per_task():
    fusion = FUSIONS["mmoe"]().eval()
    state = torch.randn(6, DIM)
    gates = fusion.gates["b"](state).softmax(dim=-1)
    mixed = sum(gates[:, [number]] * expert(state) for number, expert in enumerate(fusion.experts))
    of_tasks = fusion.of_tasks(state, fusion.shared(state))
    torch.testing.assert_close(of_tasks["b"], fusion.towers["b"](mixed))
    assert (of_tasks["a"] != of_tasks["b"]).any()


@pytest.mark.parametrize("name", ["shared_bottom", "mmoe"])
def test_only_concat_lets_a_head_read_other_towers(name):
    fusion = FUSIONS[name]().eval()
    state = torch.randn(6, DIM)
    fusion.of_tasks(state, fusion.shared(state))["a"].sum().backward()
    assert fusion.towers["b"].layers[1].weight.grad is None
    assert fusion.towers["a"].layers[1].weight.grad.any()
