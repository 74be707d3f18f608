"""Export a checkpoint as a bundle, with metrics and priorities."""

import json
from collections.abc import Callable
from pathlib import Path

from polytask.contract.contract import Contract
from polytask.data.training_set import read_training_set
from polytask.evaluation.follow_rates import learn_priorities
from polytask.export.bundle import Exported, export_bundle
from polytask.jobs.inputs import load_dataset, parity_requests
from polytask.scenario.schema import Scenario
from polytask.training.checkpoint import (
    language_model_of,
    load_checkpoint,
)


def export_model(
    scenario: Scenario,
    tables: Path,
    training_set: Path,
    checkpoint: Path,
    evaluation: Path,
    target: Path,
    finish: Callable[[Contract, Path], None] | None = None,
    gpu: bool = False,
) -> Exported:
    """Export a checkpoint as a bundle, and compare its graphs with torch on the `parity_requests`.

    Args:
        scenario: The scenario.
        tables: Folder of the clean tables that ingest wrote.
        training_set: Training set, one row per event.
        checkpoint: Folder of the checkpoint.
        evaluation: JSON file that `evaluate_model` wrote.
        target: Folder of the bundle.
        finish: Called with the contract and the folder before the bundle gets its name.
        gpu: Whether the bundle is for GPUs, so that the text encoder is fp16 rather than int8.

    Returns:
        The contract, and the differences from torch; see `export_bundle`.

    Raises:
        ContractError: An output differs from torch by more than the tolerance.
        ExportError: The installed ONNX Runtime is not the supported one.
    """
    requests = parity_requests(scenario, read_training_set(scenario, training_set))
    metrics = json.loads(evaluation.read_text(encoding="utf-8"))["test"]["metrics"]
    language_model = language_model_of(checkpoint, scenario)
    dataset = load_dataset(scenario, tables, training_set, language_model, print)
    priorities = learn_priorities(load_checkpoint(checkpoint, language_model.sha256), dataset)
    return export_bundle(
        checkpoint,
        scenario,
        dataset.catalogues,
        requests,
        metrics,
        target,
        finish,
        dataset=dataset,
        gpu=gpu,
        priorities=priorities,
    )
