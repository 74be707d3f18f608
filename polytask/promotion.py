"""A candidate beside the live model: the same test requests asked of both, and whether it may replace it."""

import json
from pathlib import Path
from typing import Any

from polytask.atomic import write_text
from polytask.catalogue import Catalogue, load_catalogue
from polytask.checkpoint import checkpoint_sha256, language_model_of, load_checkpoint
from polytask.contract import load_contract
from polytask.errors import DataError
from polytask.evaluation.gate import Difference, Verdict, judge
from polytask.evaluation.measures import primary_metric
from polytask.evaluation.previous import previous_method
from polytask.evaluation.requests import split_requests
from polytask.evaluation.study import MODEL, PREVIOUS, model_method, study
from polytask.jobs import Say, load_dataset
from polytask.registry.version import ModelVersion
from polytask.scenario.schema import Scenario

FIRST = "there is no live model: this is the first deployment"


def compare_with_live(
    scenario: Scenario,
    tables: Path,
    training_set: Path,
    checkpoint: Path,
    evaluation: Path,
    live: ModelVersion | None,
    target: Path,
    say: Say = print,
    live_note: str = "",
) -> Verdict:
    """Judge a candidate, write the verdict as JSON to `target` and return it.

    `evaluation` is what `evaluate_model` wrote of the candidate. A live model that is not here, or has no checkpoint or
    no task of the scenario, cannot be asked; the verdict says so, after `live_note` on how it was found. Raises
    DataError where a gate names a baseline that was not measured.
    """
    content = json.loads(evaluation.read_text(encoding="utf-8"))
    differences, note = _differences(scenario, tables, training_set, checkpoint, live, say)
    number = None if live is None else live.version
    notes = "; ".join(text for text in (live_note, note) if text)
    verdict = judge(scenario, content["test"], content["validation"], differences, number, notes)
    write_text(target, json.dumps(verdict.content(), indent=2) + "\n")
    return verdict


def _differences(
    scenario: Scenario, tables: Path, training_set: Path, checkpoint: Path, live: ModelVersion | None, say: Say
) -> tuple[dict[str, Difference], str]:
    """Candidate minus live model per task, and why there is no comparison where there is none."""
    if live is None:
        return {}, FIRST
    if not Path(live.bundle).is_dir():
        return {}, f"live model {live.version} lies in {live.bundle}, which is not here, and cannot be compared"
    if live.checkpoint is None:
        return {}, f"live model {live.version} was published without its checkpoint and cannot be compared"
    kept = Path(live.checkpoint)
    if checkpoint_sha256(kept) == checkpoint_sha256(checkpoint):
        return {}, f"the candidate has the weights of live model {live.version}"
    language_model = language_model_of(checkpoint, scenario)
    dataset = load_dataset(scenario, tables, training_set, language_model, say)
    try:
        previous = previous_method(kept, dataset, language_model, _catalogues(live))
    except DataError as error:
        return {}, f"live model {live.version} cannot be compared: {error}"
    candidate = model_method(load_checkpoint(checkpoint, language_model.sha256))
    requests = split_requests(dataset, "test")
    done = study(requests, scenario.tasks, {MODEL: [candidate], PREVIOUS: [previous]})
    found: dict[str, Difference] = {}
    for task in scenario.tasks:
        metric = primary_metric(task)
        difference = done.differences(MODEL, PREVIOUS, task.name).get(metric)
        if difference is not None and difference["mean"] is not None:
            theirs: Any = done.metrics(PREVIOUS, task.name)[metric]["mean"]
            low, high = difference["interval"]
            found[task.name] = Difference(theirs, difference["mean"], (low, high), difference["verdict"])
    fresh = [task.name for task in scenario.tasks if task.name not in found]
    return found, f"live model {live.version} has no {', '.join(fresh)} to compare with" if fresh else ""


def _catalogues(live: ModelVersion) -> dict[str, Catalogue]:
    """The catalogues of the live bundle, whose rows its weights stand for."""
    bundle = Path(live.bundle)
    contract = load_contract(bundle, verify_files=False)
    return {
        name: load_catalogue(contract.scenario, name, bundle / spec.path) for name, spec in contract.catalogues.items()
    }
