"""Evaluate a checkpoint as it is served."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from polytask.data.evaluation_requests import split_requests
from polytask.evaluation.candidate import candidate_results
from polytask.evaluation.evaluate import evaluate_splits
from polytask.evaluation.report import render_report
from polytask.evaluation.tuning import tuned_baselines
from polytask.jobs.inputs import Log, candidate_dataset
from polytask.model.cold_start import load_cold_start
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import write_text
from polytask.training.checkpoint import (
    load_checkpoint,
)


def evaluate_model(
    scenario: Scenario,
    tables: Path,
    training_set: Path,
    checkpoint: Path,
    target: Path,
    report: Path | None = None,
    bundle: Path | None = None,
    log: Log = print,
) -> Any:
    """Evaluate a checkpoint, as it is served, on the validation and the test split.

    Args:
        scenario: The scenario.
        tables: Folder of the clean tables that ingest wrote.
        training_set: Training set, one row per event.
        checkpoint: Folder of the checkpoint.
        target: JSON file that is written with the returned content.
        report: HTML file that is written with the metrics, intervals, slices and examples; None writes none.
        bundle: Bundle of a candidate that updates a version; see `candidate_dataset`.
        log: Called with each line of progress.

    Returns:
        Split name -> metrics of the model and of the baselines.
    """
    dataset, language_model = candidate_dataset(scenario, tables, training_set, checkpoint, bundle, log)
    model = load_checkpoint(checkpoint, language_model.sha256)
    _, new_rows = load_cold_start(checkpoint)
    tuned = tuned_baselines(dataset, split_requests(dataset, "validation"))
    measured = evaluate_splits(model, dataset, tuned=tuned, new_rows=new_rows)
    content = {split: asdict(found) for split, found in measured.items()}
    if report is not None:
        results = candidate_results(model, checkpoint, dataset, language_model, tuned)
        # As read back from a file: the page is made of what JSON knows.
        write_text(report, render_report(json.loads(json.dumps(results))))
    write_text(target, json.dumps(content, indent=2))
    return content
