"""The ways a model grows as one call each: the last version and new input in, the next version and a report out.

Every job writes the folders `model` (checkpoint) and `bundle` below its target.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from polytask.contract.contract import Contract
from polytask.contract.tensors import task_outputs
from polytask.data.dataset import Dataset
from polytask.data.tables import Tables
from polytask.errors import DataError
from polytask.evaluation.follow_rates import learn_priorities
from polytask.jobs.inputs import Log, dataset_over, item_vectors, load_dataset, parity_requests
from polytask.jobs.update_results import (
    AddedTask,
    FineTuned,
    RefreshedItems,
    line_printer,
    metrics_of,
    requests_on,
    words_of,
)
from polytask.model.cold_start import load_cold_start, next_item_task, save_cold_start
from polytask.model.multitask import MultiTaskModel
from polytask.registry.trained import Version
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Scenario, Task
from polytask.training.checkpoint import language_model_of, load_checkpoint, save_checkpoint
from polytask.updates.add_task import add_task, scenario_with, weights_sha256
from polytask.updates.catalogues import extended
from polytask.updates.cold_calibration import Measured, calibrated
from polytask.updates.fine_tune import fine_tune, gentle, updated_for
from polytask.updates.next_version import check_same_responses, export_next
from polytask.updates.refresh import refresh

Finish = Callable[[Contract, Path], None]
MODEL = "model"
BUNDLE = "bundle"


def add_task_job(
    previous: Version, task: Task, training_set: Path, target: Path, log: Log, finish: Finish | None = None
) -> AddedTask:
    """Add a task to the last version; its other weights stay as they are. See `add_task`.

    Args:
        previous: Checkpoint and bundle of the last version.
        task: The new task.
        training_set: Training set, one row per event.
        target: Folder in which `model` and `bundle` are written.
        log: Called with each line of progress.
        finish: Called with the contract and the folder before the bundle gets its name.

    Returns:
        The contract of the next version, and the metrics of the new task per split.

    Raises:
        ContractError: An output of an existing task is not bit-identical.
    """
    old = previous.contract()
    scenario = scenario_with(old.scenario, task)
    language_model = language_model_of(previous.checkpoint, scenario)
    model = load_checkpoint(previous.checkpoint, language_model.sha256)
    dataset = dataset_over(scenario, previous.catalogues(), training_set, language_model, log)
    updated, history = add_task(model, dataset, line_printer(log))
    before = weights_sha256(model)
    assert weights_sha256(updated, list(model.state_dict())) == before, "a weight of the old model has moved"
    cold, new_rows = load_cold_start(previous.checkpoint)
    metrics = {split: of_task[task.name] for split, of_task in metrics_of(updated, dataset, (task,), new_rows).items()}
    log(f"test: {words_of(metrics['test'])}")
    save_checkpoint(updated, history, language_model.sha256, target / MODEL, language_model.tuned)
    if cold is not None:
        save_cold_start(cold, new_rows, target / MODEL)
    requests = parity_requests(scenario, dataset.events)
    exported = export_next(
        previous,
        target / MODEL,
        dataset.catalogues,
        requests,
        {**old.metrics, task.name: metrics["test"]},
        target / BUNDLE,
        finish,
        dataset=dataset,
    )
    same = check_same_responses(previous.bundle, target / BUNDLE, requests)
    return AddedTask(exported.contract, metrics, same, before)


def fine_tune_job(
    previous: Version,
    tables: Tables,
    training_set: Path,
    target: Path,
    log: Log,
    epochs: int,
    learning_rate: float,
    finish: Finish | None = None,
) -> FineTuned:
    """Continue training the last version on a newer training set.

    Args:
        previous: Checkpoint and bundle of the last version.
        tables: The clean tables that the training set was joined from.
        training_set: Training set, one row per event.
        target: Folder in which `model` and `bundle` are written.
        log: Called with each line of progress.
        epochs: Number of epochs.
        learning_rate: Learning rate.
        finish: Called with the contract and the folder before the bundle gets its name.

    Returns:
        The contract of the next version, the metrics of both versions, and the number of appended rows.
    """
    scenario = gentle(previous.contract().scenario, epochs, learning_rate)
    language_model = language_model_of(previous.checkpoint, scenario)
    old = previous.catalogues()
    newer = {name: extended(scenario, catalogue, tables.named()[name]) for name, catalogue in old.items()}
    catalogues = {name: found.catalogue for name, found in newer.items()}
    dataset = dataset_over(scenario, catalogues, training_set, language_model, log)
    model = load_checkpoint(previous.checkpoint, language_model.sha256)
    cold, new_rows = load_cold_start(previous.checkpoint)
    updated = updated_for(model, dataset, item_vectors(dataset, language_model, log), cold)
    grows_items = next_item_task(scenario) is not None
    if grows_items:
        new_rows = np.union1d(new_rows, newer[ITEMS].new_rows)
    before = metrics_of(updated, dataset, scenario.tasks, new_rows)
    history = fine_tune(updated, dataset, line_printer(log))
    save_checkpoint(updated, history, language_model.sha256, target / MODEL, language_model.tuned)
    if grows_items:
        # Items that training events have seen by now are no longer new.
        new_rows = np.setdiff1d(new_rows, dataset.item_rows[dataset.train])
        _calibrate(updated, dataset, new_rows, target / MODEL, log)
    after = metrics_of(updated, dataset, scenario.tasks, new_rows)
    requests = parity_requests(scenario, dataset.events)
    exported = export_next(
        previous,
        target / MODEL,
        catalogues,
        requests,
        after["test"],
        target / BUNDLE,
        finish,
        learn_priorities(updated, dataset),
        dataset,
    )
    return FineTuned(exported.contract, before, after, {name: len(found.new_rows) for name, found in newer.items()})


def refresh_job(
    previous: Version,
    items: pd.DataFrame,
    target: Path,
    log: Log,
    finish: Finish | None = None,
    training_set: Path | None = None,
) -> RefreshedItems:
    """Append the items that the last version does not have; see `refresh`.

    Args:
        previous: Checkpoint and bundle of the last version.
        items: The clean table of items.
        target: Folder in which `model` and `bundle` are written.
        log: Called with each line of progress.
        finish: Called with the contract and the folder before the bundle gets its name.
        training_set: Training set on whose test events the metrics are computed again; None keeps those of the last
            version.

    Returns:
        The contract of the next version, and the numbers of new, changed and removed items.

    Raises:
        DataError: The last version has all items already.
        ContractError: An output of a task without a list of items is not bit-identical, and no known item has a new
            text.
    """
    old = previous.contract()
    language_model = language_model_of(previous.checkpoint, old.scenario)
    model = load_checkpoint(previous.checkpoint, language_model.sha256)
    catalogues = previous.catalogues()
    cold, new_rows = load_cold_start(previous.checkpoint)
    done = refresh(model, catalogues[ITEMS], items, lambda texts: language_model.vectors(texts)[0], cold)
    if not len(done.new_rows) and not len(done.changed_rows):
        raise DataError(f"{ITEMS}: all {len(items)} are known with the same texts; there is nothing to refresh")
    log(f"{len(done.new_rows)} new items, {len(done.changed_rows)} with another text")
    save_checkpoint(done.model, [], language_model.sha256, target / MODEL, language_model.tuned)
    if cold is not None:
        new_rows = np.union1d(new_rows, done.new_rows)
        save_cold_start(cold, new_rows, target / MODEL)
    requests = requests_on(old.scenario, catalogues[ITEMS])
    newest = requests_on(old.scenario, done.items)
    catalogues[ITEMS] = done.items
    metrics = old.metrics
    if training_set is not None:
        dataset = dataset_over(old.scenario, catalogues, training_set, language_model, log)
        metrics = metrics_of(done.model, dataset, old.scenario.tasks, new_rows)["test"]
    exported = export_next(
        previous,
        target / MODEL,
        catalogues,
        requests + newest,
        metrics,
        target / BUNDLE,
        finish,
    )
    same: list[str] = []
    if not len(done.changed_rows):
        lists_items = [task for task in old.scenario.tasks if task.catalogue == ITEMS]
        changing = {spec.name for task in lists_items for spec in task_outputs(task)}
        same = check_same_responses(previous.bundle, target / BUNDLE, requests, changing)
    changed: list[object] = [done.items.external(int(row)) for row in done.changed_rows]
    return RefreshedItems(exported.contract, len(done.new_rows), changed, done.missing, same)


def calibrate_job(scenario: Scenario, tables: Path, training_set: Path, checkpoint: Path, log: Log) -> Measured | None:
    """Learn the initial vectors of new items from a trained model, calibrate their score offset, and add both to the
    checkpoint.

    Args:
        scenario: The scenario.
        tables: Folder of the clean tables that ingest wrote.
        training_set: Training set, one row per event.
        checkpoint: Folder of the checkpoint, to which the result is written.
        log: Called with each line of progress.

    Returns:
        The measured quality; None for a scenario without a list that new items could join.
    """
    if next_item_task(scenario) is None:
        return None
    language_model = language_model_of(checkpoint, scenario)
    dataset = load_dataset(scenario, tables, training_set, language_model, log)
    model = load_checkpoint(checkpoint, language_model.sha256)
    return _calibrate(model, dataset, np.zeros(0, dtype=np.int64), checkpoint, log)


def _calibrate(
    model: MultiTaskModel, dataset: Dataset, new_rows: NDArray[np.int64], checkpoint: Path, log: Log
) -> Measured:
    cold, found = calibrated(model, dataset)
    save_cold_start(cold, new_rows, checkpoint)
    log(
        f"new items: offset {float(cold.offset):.2f}, {found.share:.1%} of the first ten, "
        f"which costs the others {found.warm_loss:.1%} of NDCG@10 (validation)"
    )
    return found
