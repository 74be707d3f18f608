"""Weights of the tasks: static, learned from uncertainty, and by the rate of descent."""

import math

import pytest
import torch

from polytask.model.loss_weights import DynamicWeightAverage, StaticWeights, UncertaintyWeights, build_weights

LOSSES = {"a": torch.tensor(2.0), "b": torch.tensor(10.0)}


def test_static_is_a_weighted_sum():
    weights = StaticWeights({"b": 0.3, "a": 1.0})
    assert float(weights(LOSSES)) == pytest.approx(5.0)
    weights.end_epoch({"a": 1.0, "b": 1.0})
    assert weights.current() == {"a": 1.0, "b": 0.3}


def test_uncertainty_follows_its_formula_and_settles_at_the_loss():
    weights = UncertaintyWeights({"a": 1.0, "b": 0.5})
    with torch.no_grad():
        weights.log_variance["b"].fill_(0.7)
    expected = 2.0 + 0.5 * (math.exp(-0.7) * 10 + 0.35)
    assert float(weights(LOSSES)) == pytest.approx(expected)
    # The minimum over s of exp(-s) L + s / 2 is at s = log(2 L): the larger the loss, the smaller the weight.
    optimizer = torch.optim.Adam(weights.parameters(), lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        weights(LOSSES).backward()
        optimizer.step()
    assert float(weights.log_variance["a"]) == pytest.approx(math.log(4), abs=0.01)
    assert weights.current()["b"] == pytest.approx(0.5 / 20, abs=0.001)


def test_dwa_favours_the_task_that_learns_more_slowly():
    weights = DynamicWeightAverage({"a": 1.0, "b": 0.5})
    weights.end_epoch({"a": 4.0, "b": 4.0})
    assert weights.current() == {"a": 1.0, "b": 0.5}  # no rate is known yet
    weights.end_epoch({"a": 2.0, "b": 4.0})
    slow, fast = math.exp(1.0 / 2), math.exp(0.5 / 2)
    assert weights.current() == pytest.approx({"a": 2 * fast / (slow + fast), "b": 0.5 * 2 * slow / (slow + fast)})
    assert float(weights(LOSSES)) == pytest.approx(weights.current()["a"] * 2 + weights.current()["b"] * 10)


def test_a_loss_of_zero_has_no_rate():
    weights = DynamicWeightAverage({"a": 1.0, "b": 1.0})
    for _ in range(2):
        weights.end_epoch({"a": 0.0, "b": 3.0})
    assert weights.current() == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(
    ("name", "kind"), [("static", StaticWeights), ("uncertainty", UncertaintyWeights), ("dwa", DynamicWeightAverage)]
)
def test_the_scenario_names_the_weighting(small_scenario, name, kind):
    training = small_scenario.training.model_copy(update={"loss_weighting": name})
    built = build_weights(small_scenario.model_copy(update={"training": training}))
    assert type(built) is kind
    assert built.static == {"item": 1.0, "user": 0.3, "scene": 0.3}
