"""A verdict as Markdown, for the user interface of Kubeflow Pipelines."""

from polytask.evaluation.gate import Difference, TaskVerdict, Verdict
from polytask.evaluation.measures import lower_is_better
from polytask.presentation.markdown_table import cell, table
from polytask.scenario.schema import Scenario

HEADER = ("Task", "Metric (test split)", "Candidate", "Gate baseline", "Live model", "Difference (95%)", "Verdict")


def summary_of_verdict(scenario: Scenario, verdict: Verdict) -> str:
    """A heading with the outcome, why, and a table with a row per task."""
    outcome = "may be deployed" if verdict.passed else "was refused"
    lines = [f"# {cell(scenario.title)}: the candidate {outcome}", ""]
    lines += [f"- {cell(task.refused)}" for task in verdict.tasks if task.refused]
    lines += ["", _about_live(verdict)]
    lines += table(HEADER, map(_row, verdict.tasks))
    lines += [
        "",
        "A task passes if it is not below its gate baseline, and not worse than the live model beyond the interval.",
    ]
    allowed = [f"{task.task} {task.live.allowed:.4f}" for task in verdict.tasks if task.live and task.live.alone]
    if allowed:
        costs = ", ".join(allowed)
        lines[-1] += f" Items that the live model does not have may cost {costs}; without them no task may be worse."
    return "\n".join(lines) + "\n"


def _about_live(verdict: Verdict) -> str:
    note = f"{verdict.note[0].upper()}{verdict.note[1:]}." if verdict.note else ""
    if verdict.live is None:
        return cell(note or "No model is live.")
    return cell(f"Live model: {verdict.live}. {note}".strip())


def _row(task: TaskVerdict) -> list[str]:
    baseline = "none" if task.baseline is None else f"{task.baseline} {_number(task.baseline_value)}"
    live, difference = "-", "-"
    if task.live is not None:
        live, difference = _number(task.live.live), _difference(task.live)
        if task.live.alone is not None:
            difference += f"; without the new items {_difference(task.live.alone)}"
    verdict = "refused" if task.refused else "passed"
    metric = f"{task.metric} (less is better)" if task.metric in lower_is_better() else task.metric
    return [task.task, metric, _number(task.value), baseline, live, difference, verdict]


def _difference(difference: Difference) -> str:
    low, high = difference.interval
    return f"{difference.mean:+.4f} ({low:+.4f} to {high:+.4f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
