"""Compare a candidate with the live model on the same test requests, and decide whether it may replace it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.data.dataset import Dataset
from polytask.data.evaluation_requests import Requests, split_requests
from polytask.errors import DataError
from polytask.evaluation.gate import Difference, Verdict, judge
from polytask.evaluation.measures import primary_metric
from polytask.evaluation.previous import previous_method
from polytask.evaluation.served import without_rows
from polytask.evaluation.study import MODEL, PREVIOUS, Method, Study, model_method, study
from polytask.jobs.evaluate import evaluate_model
from polytask.jobs.inputs import Log, candidate_dataset
from polytask.model.cold_start import load_cold_start
from polytask.registry.trained import Version, scenario_of
from polytask.registry.version import ModelVersion
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Scenario, Task
from polytask.storage.atomic import write_text
from polytask.training.checkpoint import checkpoint_sha256, load_checkpoint
from polytask.updates.cold_calibration import WARM_LOSS

Rows = NDArray[np.int64]

# The candidate's lists without the items that the live model does not have.
ALONE = "without new items"
FIRST = "there is no live model: this is the first deployment"


def compare_with_live(
    scenario: Scenario,
    tables: Path,
    training_set: Path,
    checkpoint: Path,
    evaluation: Path,
    live: ModelVersion | None,
    target: Path,
    log: Log = print,
    live_note: str = "",
    bundle: Path | None = None,
) -> Verdict:
    """Compare a candidate with the live model, and write the verdict.

    A live model that is not on this machine, or has no checkpoint or no task of the scenario, is not compared; the
    verdict reports it.

    Args:
        scenario: The scenario.
        tables: Folder of the clean tables that ingest wrote.
        training_set: Training set, one row per event.
        checkpoint: Folder of the candidate's checkpoint.
        evaluation: JSON file that `evaluate_model` wrote for the candidate.
        live: The live version; None before the first.
        target: JSON file that is written with the verdict.
        log: Called with each line of progress.
        live_note: Text for the verdict on how the live version was found.
        bundle: Bundle of a candidate that updates a version; see `candidate_dataset`.

    Returns:
        The verdict.

    Raises:
        DataError: A gate names a baseline that was not measured.
    """
    content = json.loads(evaluation.read_text(encoding="utf-8"))
    if bundle is not None:
        scenario = scenario_of(Version(checkpoint, bundle), scenario)
    differences, note = _differences(scenario, tables, training_set, checkpoint, bundle, live, log)
    number = None if live is None else live.version
    notes = "; ".join(text for text in (live_note, note) if text)
    verdict = judge(scenario, content["test"], content["validation"], differences, number, notes)
    write_text(target, json.dumps(verdict.content(), indent=2) + "\n")
    return verdict


def judge_update(
    scenario: Scenario, tables: Path, training_set: Path, made: Version, live: ModelVersion, folder: Path, log: Log
) -> Verdict:
    """Evaluate an updated version and compare it with the live model; both results are written to `folder` as JSON."""
    evaluation = folder / "evaluation.json"
    evaluate_model(scenario, tables, training_set, made.checkpoint, evaluation, bundle=made.bundle, log=log)
    verdict = folder / "verdict.json"
    return compare_with_live(
        scenario, tables, training_set, made.checkpoint, evaluation, live, verdict, log, bundle=made.bundle
    )


def _differences(
    scenario: Scenario,
    tables: Path,
    training_set: Path,
    checkpoint: Path,
    bundle: Path | None,
    live: ModelVersion | None,
    log: Log,
) -> tuple[dict[str, Difference], str]:
    """Candidate minus live model per task, and why there is no comparison where there is none."""
    if live is None:
        return {}, FIRST
    if not Path(live.bundle).is_dir():
        place = f"is stored in {live.bundle}, which is not on this machine"
        return {}, f"live model {live.version} {place}, and cannot be compared"
    if live.checkpoint is None:
        return {}, f"live model {live.version} was published without its checkpoint and cannot be compared"
    kept = Path(live.checkpoint)
    if checkpoint_sha256(kept) == checkpoint_sha256(checkpoint):
        return {}, f"the candidate has the weights of live model {live.version}"
    dataset, language_model = candidate_dataset(scenario, tables, training_set, checkpoint, bundle, log)
    catalogues = Version(kept, Path(live.bundle)).catalogues()
    try:
        previous = previous_method(kept, dataset, language_model, catalogues)
    except DataError as error:
        return {}, f"live model {live.version} cannot be compared: {error}"
    _, new_rows = load_cold_start(checkpoint)
    candidate = model_method(load_checkpoint(checkpoint, language_model.sha256), new_rows=new_rows)
    methods = {MODEL: [candidate], PREVIOUS: [previous]}
    joined = _joined(dataset, new_rows, catalogues)
    if len(joined):
        methods[ALONE] = [_without(candidate, joined, scenario)]
    done = study(split_requests(dataset, "test"), scenario.tasks, methods)
    found: dict[str, Difference] = {}
    for task in scenario.tasks:
        difference = _difference(done, MODEL, task)
        if difference is not None:
            alone = _difference(done, ALONE, task)
            if alone is not None:
                difference = replace(difference, allowed=WARM_LOSS * difference.live, alone=alone)
            found[task.name] = difference
    fresh = [task.name for task in scenario.tasks if task.name not in found]
    return found, f"live model {live.version} has no {', '.join(fresh)} to compare with" if fresh else ""


def _difference(done: Study, method: str, task: Task) -> Difference | None:
    """A method minus the live model by the task's first metric; None where one of them was not measured."""
    metric = primary_metric(task)
    found = done.differences(method, PREVIOUS, task.name).get(metric)
    if found is None or found["mean"] is None:
        return None
    theirs: Any = done.metrics(PREVIOUS, task.name)[metric]["mean"]
    low, high = found["interval"]
    return Difference(theirs, found["mean"], (low, high), found["verdict"])


def _joined(dataset: Dataset, new_rows: Rows, live: Mapping[str, Catalogue]) -> Rows:
    """Find the candidate's items that the live model does not have and no training has seen.

    Returns:
        Rows (n,) int64: its `new_rows`, and where new items are not calibrated those without an event.
    """
    items, theirs = dataset.catalogues.get(ITEMS), live.get(ITEMS)
    if items is None or theirs is None:
        return np.zeros(0, dtype=np.int64)
    unknown = 1 + np.flatnonzero(theirs.rows(items.ids) == PADDING_ROW)
    learned = np.setdiff1d(dataset.item_rows[dataset.train], new_rows)
    joined: Rows = np.setdiff1d(unknown, learned)
    return joined


def _without(candidate: Method, rows: Rows, scenario: Scenario) -> Method:
    """The candidate's lists of items as they would be without some of them."""
    lists = [task.name for task in scenario.tasks if task.catalogue == ITEMS]

    def answer(requests: Requests) -> Mapping[str, NDArray[np.float32]]:
        scores = candidate(requests)
        return {name: without_rows(scores[name], rows) for name in lists}

    return answer
