"""A verdict as Markdown, for the user interface of Kubeflow Pipelines."""

from polytask.evaluation.gate import TaskVerdict, Verdict
from polytask.scenario.schema import Scenario


def summary_of_verdict(scenario: Scenario, verdict: Verdict) -> str:
    """A heading with the outcome, why, and a table with a row per task."""
    outcome = "may be deployed" if verdict.passed else "was refused"
    lines = [f"# {_cell(scenario.title)}: the candidate {outcome}", ""]
    lines += [f"- {_cell(task.refused)}" for task in verdict.tasks if task.refused]
    live = "No model is live." if verdict.live is None else f"Live model: {verdict.live}."
    lines += ["", " ".join(filter(None, [live, _cell(verdict.note)])), ""]
    lines += [
        "| Task | Metric (test split) | Candidate | Gate baseline | Live model | Difference (95%) | Verdict |",
        "|---|---|---|---|---|---|---|",
        *(_row(task) for task in verdict.tasks),
    ]
    return "\n".join(lines) + "\n"


def _row(task: TaskVerdict) -> str:
    baseline = "none" if task.baseline is None else f"{task.baseline} {_number(task.baseline_value)}"
    live, difference = "-", "-"
    if task.live is not None:
        low, high = task.live.interval
        live, difference = _number(task.live.live), f"{task.live.mean:+.4f} ({low:+.4f} to {high:+.4f})"
    verdict = "refused" if task.refused else "passed"
    cells = [task.task, task.metric, _number(task.value), baseline, live, difference, verdict]
    return f"| {' | '.join(map(_cell, cells))} |"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _cell(text: str) -> str:
    """Text that cannot break a table or a line."""
    return text.replace("|", "\\|").replace("\n", " ")
