"""The gate's verdict by hand: below a baseline, worse than the live model, level, and the first deployment."""

import pytest

from components.gate import gate as step
from polytask.errors import DataError
from polytask.evaluation.gate import SIMPLE, Difference, GateError, judge, verdict_of
from polytask.evaluation.report.gate_summary import summary_of_verdict
from polytask.evaluation.tuning import baselines_of
from polytask.scenario import Scenario
from polytask.scenario.tasks import Task
from polytask.tasks.kind import KINDS, kind_of

METRICS = {"item": {"ndcg@10": 0.12}, "user": {"precision@10": 0.5}, "scene": {"ndcg@5": 0.6}}
BASELINES = {
    "item": {"popularity": {"ndcg@10": 0.04}, "markov": {"ndcg@10": 0.11}},
    "user": {"most_active": {"precision@10": 0.4}},
    "scene": {"popularity": {"ndcg@5": 0.5}, "user_histogram": {"ndcg@5": 0.58}},
}
FIRST = "there is no live model: this is the first deployment"


@pytest.fixture
def ungated(small_scenario):
    """The small scenario without gates of its own."""
    tasks = tuple(task.model_copy(update={"baseline_gate": None}) for task in small_scenario.tasks)
    return small_scenario.model_copy(update={"tasks": tasks})


def split(metrics=None, baselines=None):
    return {"metrics": METRICS | (metrics or {}), "baselines": BASELINES | (baselines or {})}


def with_gate(scenario: Scenario, gate: str | None) -> Scenario:
    tasks = (scenario.tasks[0].model_copy(update={"baseline_gate": gate}), *scenario.tasks[1:])
    return scenario.model_copy(update={"tasks": tasks})


def test_a_first_deployment_passes_and_says_so(ungated):
    verdict = judge(ungated, split(), split(), {}, None, FIRST)
    assert verdict.passed
    assert [task.baseline for task in verdict.tasks] == ["popularity", "most_active", "user_histogram"]
    assert verdict.line() == (
        "passed [item ndcg@10 0.1200, popularity 0.0400; user precision@10 0.5000, most_active 0.4000; "
        "scene ndcg@5 0.6000, user_histogram 0.5800] (there is no live model: this is the first deployment)"
    )
    assert verdict_of(verdict.content()) == verdict


def test_below_the_strongest_simple_baseline_of_validation(ungated):
    test = split({"scene": {"ndcg@5": 0.57}})
    refused = judge(ungated, test, split(), {}, None, FIRST)
    assert not refused.passed
    assert refused.line().startswith(
        "refused: scene ndcg@5 0.5700 falls below its gate baseline user_histogram 0.5800 "
        "(`baseline_gate: none` in the task leaves this bar out) [item"
    )
    # Which one is the strongest is not chosen on the test split.
    validation = split(baselines={"scene": {"popularity": {"ndcg@5": 0.6}, "user_histogram": {"ndcg@5": 0.5}}})
    assert judge(ungated, test, validation, {}, None, FIRST).passed


def test_the_scenario_names_the_bar(ungated):
    test = split({"item": {"ndcg@10": 0.10}})
    assert judge(ungated, test, split(), {}, None, FIRST).passed
    named = judge(with_gate(ungated, "markov"), test, split(), {}, None, FIRST)
    assert "item ndcg@10 0.1000 falls below its gate baseline markov 0.1100" in named.line()
    low = split({"item": {"ndcg@10": 0.0}})
    assert not judge(ungated, low, split(), {}, None, FIRST).passed
    assert judge(with_gate(ungated, "none"), low, split(), {}, None, FIRST).passed
    with pytest.raises(
        DataError, match=r"tasks\.item\.baseline_gate: 'ease' was not measured on this data; allowed: popularity"
    ):
        judge(with_gate(ungated, "ease"), test, split(), {}, None, FIRST)


def test_at_the_bar_is_not_below_it(ungated):
    assert judge(ungated, split({"scene": {"ndcg@5": 0.58}}), split(), {}, None, FIRST).passed


def test_both_reasons_are_told(ungated):
    difference = Difference(0.15, -0.14, (-0.16, -0.12), "worse")
    line = judge(ungated, split({"item": {"ndcg@10": 0.01}}), split(), {"item": difference}, 7, "").line()
    below, worse = line.split(" (`baseline_gate: none` in the task leaves this bar out); ")
    assert below.endswith("item ndcg@10 0.0100 falls below its gate baseline popularity 0.0400")
    assert worse.startswith("item ndcg@10 0.0100 is worse")


def test_less_error_is_better(ungated):
    task = Task(name="stars", title="", kind="regression", label={"source": "interaction", "column": "rating"})
    scenario = ungated.model_copy(update={"tasks": (task,)})
    content = {"metrics": {"stars": {"mae": 0.5}}, "baselines": {"stars": {"mean": {"mae": 0.4}}}}
    assert not judge(scenario, content, content, {}, None, FIRST).passed
    content = {"metrics": {"stars": {"mae": 0.3}}, "baselines": {"stars": {"mean": {"mae": 0.4}}}}
    assert judge(scenario, content, content, {}, None, FIRST).passed


def test_what_was_not_measured_passes_no_bar(ungated):
    for value in ({}, {"ndcg@10": float("nan")}):
        verdict = judge(ungated, split({"item": value}), split(), {}, None, FIRST)
        assert "item ndcg@10 not measured falls below its gate baseline popularity 0.0400" in verdict.line()


@pytest.mark.parametrize(("found", "passed"), [("worse", False), ("level", True), ("better", True)])
def test_beside_the_live_model(ungated, found, passed):
    difference = Difference(0.15, -0.03, (-0.05, -0.01), found)
    verdict = judge(ungated, split(), split(), {"item": difference}, 7, "")
    assert verdict.passed is passed
    assert "live 0.1500" in verdict.line()
    assert verdict_of(verdict.content()) == verdict
    if not passed:
        assert "item ndcg@10 0.1200 is worse than the live model's 0.1500 by 0.0300 (95%: -0.0500" in verdict.line()


LEVEL = Difference(0.15, 0.0, (-0.01, 0.01), "level")
WORSE = Difference(0.15, -0.03, (-0.05, -0.01), "worse")


@pytest.mark.parametrize(
    ("allowed", "alone", "words"),
    [
        (0.012, LEVEL, None),
        (0.008, LEVEL, "-0.0100), more than the 0.0080 that new items may cost [item"),
        (0.012, WORSE, "refused: item ndcg@10 without the new items is worse than the live model's 0.1500 by 0.0300"),
    ],
)
def test_new_items_may_cost_so_much_and_the_model_itself_nothing(ungated, allowed, alone, words):
    difference = Difference(0.15, -0.03, (-0.05, -0.01), "worse", allowed, alone)
    verdict = judge(ungated, split(), split(), {"item": difference}, 7, "")
    assert verdict.passed is (words is None)
    assert (words or "passed [") in verdict.line()
    numbers = f"; new items may cost {allowed:.4f}; without them {alone.verdict}: {alone.mean:+.4f}, "
    assert f"live 0.1500 (worse: -0.0300, -0.0500 to -0.0100{numbers}" in verdict.line()
    assert verdict_of(verdict.content()) == verdict
    text = summary_of_verdict(ungated, verdict)
    low, high = alone.interval
    assert f"(-0.0500 to -0.0100); without the new items {alone.mean:+.4f} ({low:+.4f} to {high:+.4f}) |" in text
    assert f"may cost item {allowed:.4f}; without them no task may be worse." in text


def test_less_error_than_allowed_is_told_from_more(ungated):
    """The end of the interval that is nearer to nought decides, on either side of it."""
    more, less = (
        Difference(0.15, mean, ends, "worse", 0.02) for mean, ends in ((0.05, (0.03, 0.07)), (0.02, (0.01, 0.03)))
    )
    assert more.is_worse
    assert not less.is_worse


def test_the_summary_names_each_task_and_number(ungated):
    difference = Difference(0.15, -0.03, (-0.05, -0.01), "worse")
    text = summary_of_verdict(ungated, judge(ungated, split(), split(), {"item": difference}, 7, "a | b"))
    assert "the candidate was refused" in text
    assert "| item | ndcg@10 | 0.1200 | popularity 0.0400 | 0.1500 | -0.0300 (-0.0500 to -0.0100) | refused |" in text
    assert "| scene | ndcg@5 | 0.6000 | user_histogram 0.5800 | - | - | passed |" in text
    assert "Live model: 7. A \\| b." in text


def test_the_summary_says_once_that_nothing_is_live(ungated):
    lines = summary_of_verdict(ungated, judge(ungated, split(), split(), {}, None, FIRST)).splitlines()
    assert lines[0] == "# Small data made by the tests: the candidate may be deployed"
    assert next(line for line in lines if "live" in line and not line.startswith("|")) == (
        "There is no live model: this is the first deployment."
    )
    assert "No model is live." in summary_of_verdict(ungated, judge(ungated, split(), split(), {}, None, ""))
    task = Task(name="stars", title="", kind="regression", label={"source": "interaction", "column": "rating"})
    content = {"metrics": {"stars": {"mae": 0.5}}, "baselines": {"stars": {"mean": {"mae": 0.4}}}}
    scenario = ungated.model_copy(update={"tasks": (task,)})
    text = summary_of_verdict(scenario, judge(scenario, content, content, {}, None, FIRST))
    assert "| stars | mae (less is better) | 0.5000 | mean 0.4000 | - | - | refused |" in text


def test_the_step_fails_with_the_verdict_in_its_last_line(ungated, tmp_path):
    import json
    from types import SimpleNamespace

    for metrics, message in (({}, None), ({"item": {"ndcg@10": 0.0}}, "refused: item ndcg@10 0.0000 falls below")):
        verdict = judge(ungated, split(metrics), split(), {}, None, FIRST)
        (tmp_path / "verdict").write_text(json.dumps(verdict.content()), encoding="utf-8")
        artifact = SimpleNamespace(path=str(tmp_path / "verdict"))
        if message is None:
            step.python_func(verdict=artifact)
        else:
            with pytest.raises(GateError, match=message) as error:
                step.python_func(verdict=artifact)
            assert "\n" not in str(error.value)


def test_every_baseline_may_be_a_gate(small_dataset):
    for task in small_dataset.scenario.tasks:
        assert set(baselines_of(small_dataset, task)) <= set(kind_of(task).baselines)
    assert set(SIMPLE) <= {name for kind in KINDS.values() for name in kind.baselines}
