"""Whether a candidate may be deployed: each task compared with its gate baseline and with the live model.

A candidate passes if no task falls below its baseline and none is worse than the live model beyond the paired bootstrap
interval, all on the same test requests and by the task's first metric. Both are scored as they are served.

Items that the live model does not have take places in the lists before any event has them as target: so the candidate
must be no worse without them, and with them may lose at most the calibrated cost of new items.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from polytask.errors import DataError, PolytaskError
from polytask.evaluation.measures import is_better, primary_metric
from polytask.scenario.schema import Scenario, Task
from polytask.scenario.tasks import NO_GATE

Metrics = Mapping[str, float]

# Baselines that only count: what a model has to beat to be worth its place.
SIMPLE = ("popularity", "most_active", "user_histogram", "majority", "mean", "user_mean")


class GateError(PolytaskError):
    """The gate refused a candidate. The message is the verdict, in one line."""


@dataclass(frozen=True)
class Difference:
    """The candidate minus the live model on the same requests: value, 95% interval, better, worse or level.

    Where the candidate lists new items that the live model does not have, `alone` is the difference without them, and
    `allowed` is what the candidate may lose with them.
    """

    live: float
    mean: float
    interval: tuple[float, float]
    verdict: str
    allowed: float = 0.0
    alone: "Difference | None" = None

    def words(self) -> str:
        """Verdict, mean and interval in a few words."""
        low, high = self.interval
        return f"{self.verdict}: {self.mean:+.4f}, {low:+.4f} to {high:+.4f}"

    @property
    def is_worse(self) -> bool:
        """Whether the whole interval is worse than what is allowed."""
        return self.verdict == "worse" and min(abs(bound) for bound in self.interval) > self.allowed


@dataclass(frozen=True)
class TaskVerdict:
    """One task: the candidate's `value` of `metric`, gate baseline, live model; `refused` is the reason, if any."""

    task: str
    metric: str
    value: float | None
    baseline: str | None
    baseline_value: float | None
    live: Difference | None
    refused: str = ""

    def words(self) -> str:
        """The task's numbers in a few words."""
        words = f"{self.task} {self.metric} {_number(self.value)}"
        if self.baseline is not None:
            words += f", {self.baseline} {_number(self.baseline_value)}"
        if self.live is not None:
            words += f", live {self.live.live:.4f} ({self.live.words()}"
            if self.live.alone is not None:
                words += f"; new items may cost {self.live.allowed:.4f}; without them {self.live.alone.words()}"
            words += ")"
        return words


@dataclass(frozen=True)
class Verdict:
    """All tasks, and which model was live; `note` is the reason if there is no comparison."""

    tasks: tuple[TaskVerdict, ...]
    live: int | None
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the candidate may be deployed."""
        return not any(task.refused for task in self.tasks)

    def line(self) -> str:
        """The verdict in one line: what is wrong first, then every task and number."""
        reasons = [task.refused for task in self.tasks if task.refused]
        head = "passed" if self.passed else f"refused: {'; '.join(reasons)}"
        numbers = "; ".join(task.words() for task in self.tasks)
        return f"{head} [{numbers}]" + (f" ({self.note})" if self.note else "")

    def content(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {"passed": self.passed, "line": self.line(), **asdict(self)}


def verdict_of(content: Mapping[str, Any]) -> Verdict:
    """The verdict out of what `Verdict.content` wrote."""
    tasks = (TaskVerdict(**{**entry, "live": _difference_of(entry["live"])}) for entry in content["tasks"])
    return Verdict(tuple(tasks), content["live"], content["note"])


def _difference_of(content: Mapping[str, Any] | None) -> Difference | None:
    if content is None:
        return None
    alone = _difference_of(content["alone"])
    return Difference(**{**content, "interval": tuple(content["interval"]), "alone": alone})


def judge(
    scenario: Scenario,
    test: Mapping[str, Any],
    validation: Mapping[str, Any],
    differences: Mapping[str, Difference],
    live: int | None,
    note: str,
) -> Verdict:
    """The verdict on a candidate from its evaluation and its `differences` to the live model, by task.

    `test` and `validation` are the splits of an evaluation, `metrics` and `baselines` by task; which of the simple
    baselines is the strongest is seen on validation. Raises DataError where a named baseline was not measured.
    """
    return Verdict(
        tuple(_task(task, test, validation, differences.get(task.name)) for task in scenario.tasks), live, note
    )


def _task(task: Task, test: Mapping[str, Any], validation: Mapping[str, Any], live: Difference | None) -> TaskVerdict:
    metric = primary_metric(task)
    value = _value(test["metrics"][task.name], metric)
    name = gate_of(task, validation["baselines"].get(task.name, {}))
    bar = None if name is None else _value(_measured(task, name, test["baselines"].get(task.name, {})), metric)
    reasons = []
    if bar is not None and (value is None or is_better(metric, bar, value)):
        reasons.append(
            f"{task.name} {metric} {_number(value)} falls below its gate baseline {name} {_number(bar)} "
            "(`baseline_gate: none` in the task leaves this bar out)"
        )
    if live is not None and live.is_worse:
        more = f", more than the {live.allowed:.4f} that new items may cost" if live.alone is not None else ""
        reasons.append(f"{task.name} {metric} {_number(value)} is {_worse(live)}{more}")
    if live is not None and live.alone is not None and live.alone.is_worse:
        reasons.append(f"{task.name} {metric} without the new items is {_worse(live.alone)}")
    return TaskVerdict(task.name, metric, value, name, bar, live, "; ".join(reasons))


def _worse(difference: Difference) -> str:
    low, high = difference.interval
    return (
        f"worse than the live model's {difference.live:.4f} by {abs(difference.mean):.4f} "
        f"(95%: {low:+.4f} to {high:+.4f})"
    )


def gate_of(task: Task, validation: Mapping[str, Metrics]) -> str | None:
    """The name of a task's gate baseline: the scenario's, or the strongest simple one; None for no bar."""
    if task.baseline_gate == NO_GATE:
        return None
    if task.baseline_gate is not None:
        return task.baseline_gate
    metric, best = primary_metric(task), None
    for name in SIMPLE:
        value = _value(validation.get(name, {}), metric)
        if value is not None and (best is None or is_better(metric, value, best[1])):
            best = (name, value)
    return None if best is None else best[0]


def _measured(task: Task, name: str, baselines: Mapping[str, Metrics]) -> Metrics:
    if name not in baselines:
        raise DataError(
            f"tasks.{task.name}.baseline_gate: {name!r} was not measured on this data; "
            f"allowed: {', '.join(baselines) or NO_GATE}"
        )
    return baselines[name]


def _value(metrics: Metrics, metric: str) -> float | None:
    value = metrics.get(metric)
    return None if value is None or math.isnan(value) else float(value)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.4f}"
