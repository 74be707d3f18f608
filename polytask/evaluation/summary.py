"""From the studies of both splits to the sections of metrics.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from polytask.data.splits import Split
from polytask.evaluation.measures import LIST_LENGTH, primary_metric
from polytask.evaluation.study import MODEL, PREVIOUS, Study
from polytask.evaluation.tuning import Tuned
from polytask.metrics.bootstrap import SEED
from polytask.scenario.schema import Scenario

# Methods that are variants of the model carry this before their name.
ABLATION = "ablation "


def summary_of(
    scenario: Scenario,
    seeds: Sequence[int],
    studies: Mapping[Split, Study],
    tuned: Mapping[str, Mapping[str, Tuned]],
    variants: Mapping[str, str],
    resamples: int,
) -> dict[str, Any]:
    """Scenario, seeds, per split metrics and baselines, differences, slices, ablations, settings.

    `tuned` are the baselines per task, `variants` the meaning of each group of variants.
    """
    tasks = [task.name for task in scenario.tasks]
    return {
        "scenario": scenario.name,
        "title": scenario.title,
        "seeds": list(seeds),
        **{split: _split(study, tasks, tuned) for split, study in studies.items()},
        "differences": {split: _differences(study, tasks) for split, study in studies.items()},
        "slices": {split: _slices(study, tasks) for split, study in studies.items()},
        "ablations": {
            group: {"meaning": meaning, **{s: _ablation(study, tasks, group) for s, study in studies.items()}}
            for group, meaning in variants.items()
        },
        "settings": {
            "tasks": {
                task.name: {"title": task.title, "kind": task.kind, "metric": primary_metric(task)}
                for task in scenario.tasks
            },
            "baselines": {
                task: {
                    name: {"chosen": t.settings, "metric": t.metric, "validation": t.validation, "tried": t.tried}
                    for name, t in found.items()
                }
                for task, found in tuned.items()
            },
            "list_length": LIST_LENGTH,
            "bootstrap": {"resamples": resamples, "seed": SEED, "interval": "95%, over requests"},
        },
    }


def _split(study: Study, tasks: Sequence[str], tuned: Mapping[str, Mapping[str, Tuned]]) -> dict[str, Any]:
    return {
        "requests": study.requests,
        "metrics": {task: study.metrics(MODEL, task) for task in tasks},
        "baselines": {task: {name: study.metrics(name, task) for name in tuned.get(task, {})} for task in tasks},
        "previous": {task: study.metrics(PREVIOUS, task) for task in tasks if study.answers(PREVIOUS, task)},
    }


def _differences(study: Study, tasks: Sequence[str]) -> dict[str, Any]:
    """Per task and other method, ablations left out: the model minus the other."""
    return {
        task: {
            other: study.differences(MODEL, other, task)
            for other in study.methods(task)
            if other != MODEL and not other.startswith(ABLATION)
        }
        for task in tasks
    }


def _slices(study: Study, tasks: Sequence[str]) -> dict[str, Any]:
    return {
        name: {
            "meaning": meaning,
            "requests": requests,
            "tasks": {
                task: {
                    method: study.metrics(method, task, name)
                    for method in study.methods(task)
                    if not method.startswith(ABLATION)
                }
                for task in tasks
            },
        }
        for name, (meaning, requests) in study.slices.items()
    }


def _ablation(study: Study, tasks: Sequence[str], group: str) -> dict[str, Any]:
    """Per task: the variant's metrics, and the model of the same seeds minus the variant."""
    variant, model = ABLATION + group, ABLATION + MODEL
    return {
        task: {
            metric: {**values, "gain": study.differences(model, variant, task).get(metric)}
            for metric, values in study.metrics(variant, task).items()
        }
        for task in tasks
        if study.answers(variant, task)
    }
