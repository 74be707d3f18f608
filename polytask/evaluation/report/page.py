"""Render the content of metrics.json as the report page. The text of the page is in the template."""

from collections.abc import Mapping
from typing import Any

from polytask.evaluation.measures import DESCRIPTIVE, lower_is_better, units
from polytask.evaluation.report import plots
from polytask.presentation.style_sheet import look
from polytask.tasks.kind import KINDS

MODEL = "polytask"
# Of binary tasks' baselines, the one that reads the same text.
CALIBRATED = ("tfidf_logistic", "user_mean")
OVER_POINTS = "_by_offset"


def render_report(results: Mapping[str, Any]) -> str:
    """One HTML file: styles and plots inside, no scripts, nothing fetched. `results` is what metrics.json holds."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("polytask.evaluation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "signed": signed, "name": readable}
    tasks = {name: {"name": name, **about} for name, about in results["settings"]["tasks"].items()}
    titles = {name: about["title"] for name, about in tasks.items()}
    return environment.get_template("page.html").render(
        look=look(),
        results=results,
        tasks=[_task(results, about) for about in tasks.values()],
        verdicts=[verdict(results, about) for about in tasks.values()],
        curves=plots.curves(results["training"], titles) if any(results["training"].values()) else None,
        ablations=_ablations(results, tasks),
        cold=_cold(results["cold"]),
        calibrations={
            titles[task]: plots.reliability(
                {n: p for n, p in found.items() if n == MODEL or n in CALIBRATED}, titles[task]
            )
            for task, found in results["calibration"].items()
        },
        kinds=KINDS,
        lower_is_better=lower_is_better(),
        descriptive=DESCRIPTIVE,
        units=units(),
    )


def verdict(results: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    """The first metric of a task on test, that of the baseline that is best on validation, and their difference."""
    task, metric = about["name"], about["metric"]
    tuned = {name: chosen["validation"] for name, chosen in results["settings"]["baselines"].get(task, {}).items()}
    pick = min if metric in lower_is_better() else max
    best = pick(tuned, key=lambda name: tuned[name]) if tuned else None
    return {
        **about,
        "value": results["test"]["metrics"][task].get(metric),
        "best": best,
        "best_value": results["test"]["baselines"][task][best].get(metric) if best else None,
        "difference": results["differences"]["test"][task][best].get(metric) if best else None,
    }


def _task(results: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    task, metric = about["name"], about["metric"]
    methods = _methods(results["test"], task)
    if not methods[MODEL]:  # no request of the split has a label
        return {**about, "methods": methods, "metrics": [], "differences": {}, "bars": {}, "slices": None}
    metrics = list(methods[MODEL])
    shown = [metric, *(name for name in metrics if name != metric)]
    slices = {
        f"{readable(name)} ({found['requests']})": {
            method: values[metric] for method, values in found["tasks"][task].items() if metric in values
        }
        for name, found in results["slices"]["test"].items()
        if found["requests"]
    }
    return {
        **about,
        "methods": methods,
        "metrics": shown,
        "differences": results["differences"]["test"][task],
        "bars": {
            split: plots.bars(_methods(results[split], task), shown, units(), f"{about['title']}, {split}")
            for split in ("test", "validation")
        },
        "slices": plots.dots(slices, metric, about["title"]) if slices else None,
    }


def _methods(split: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Model, baselines and previous model of a split, in this order."""
    previous = split["previous"].get(task)
    return {
        MODEL: split["metrics"][task],
        **split["baselines"][task],
        **({"previous": previous} if previous else {}),
    }


def _cold(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section on new items, sorted into values, curves over the same points (`..._by_offset`), and settings."""
    curves = {name: value for name, value in section.items() if name.endswith(OVER_POINTS)}
    return {
        "values": {name: value for name, value in section.items() if name not in curves and name != "settings"},
        "curves": {name.removesuffix(OVER_POINTS): value for name, value in curves.items()},
        "settings": section.get("settings", {}),
    }


def _ablations(results: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Variant -> meaning, and per task its value on test; and a plot of what the model gains."""
    rows = [
        {"group": group, "task": about["title"], "metric": about["metric"], **found["test"][task][about["metric"]]}
        for group, found in results["ablations"].items()
        for task, about in tasks.items()
        if about["metric"] in found["test"].get(task, {})
    ]
    panels: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row["gain"] is not None and row["gain"]["mean"] is not None:
            panels.setdefault(f"{row['task']} ({row['metric']})", {})[readable(row["group"])] = row["gain"]
    return {
        "meanings": {group: found["meaning"] for group, found in results["ablations"].items()},
        "rows": rows,
        "plot": plots.gains(panels) if panels else None,
    }


def number(value: object) -> str:
    """Four significant digits at most; a dash for what is missing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return "–" if value is None else str(value)
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def signed(value: float | None) -> str:
    """As `number`, with its sign."""
    return "–" if value is None else f"{value:+.3f}"


def readable(name: str) -> str:
    """`new_users` -> `new users`."""
    return name.replace("_", " ")
