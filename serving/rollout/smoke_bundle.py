"""Smoke tests of a published bundle, in this process or through the InferenceService that serves it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.contract.contract import load_contract
from polytask.contract.tensors import MASKED_SCORE, TensorSpec, task_outputs
from polytask.data.catalogue import PADDING_ROW, Catalogue
from polytask.data.request import RequestFeatures
from polytask.errors import ContractError
from polytask.scenario.names import ITEMS, USERS
from polytask.scenario.schema import Task
from serving.rollout.settings import Settings
from serving.rollout.smoke_service import Expected, ServiceEndpoint, wait_for_responses
from serving.transformer.bundle import Bundle, load_bundle

ASKED = 16
HISTORY = 20
DTYPES = {"INT64": "int64", "FP32": "float32"}


def smoke_in_process(folder: Path) -> list[str]:
    """Run a few requests for every task through the ONNX files of a bundle; return a line per task about its outputs.

    Raises ContractError where a file is not as it was exported, or an output violates the contract: its name,
    type or shape, a score that is not finite, rows that no catalogue has, a list that is empty or out of order.
    """
    from polytask.export.in_process import BundleModels

    contract = load_contract(folder)
    bundle = load_bundle(folder)
    requests = _requests(bundle)
    names = [spec.name for spec in contract.answers]
    input_ids, attention_mask = bundle.tokenizer([bundle.encoder.text(request) for request in requests])
    rows = bundle.encoder.rows(requests)
    answers = BundleModels(folder, contract).answer(input_ids, attention_mask, rows, names)
    return [check_task(task, answers, bundle.catalogues, len(requests)) for task in contract.scenario.tasks]


def smoke_through_service(folder: Path, name: str, namespace: str, seconds: float = Settings.response_timeout) -> str:
    """Request every task from the InferenceService `name` until this bundle's model responds, at most `seconds`.

    Raises NotServing with the last reason.
    """
    contract = load_contract(folder, verify_files=False)
    tasks = [task.name for task in contract.scenario.tasks]
    endpoint = ServiceEndpoint(Settings.url.format(name=name, namespace=namespace))
    try:
        expected = Expected(str(contract.model_version), contract.checksum, tasks)
        wait_for_responses(endpoint, expected, seconds=seconds, poll_seconds=Settings.poll_seconds)
    finally:
        endpoint.close()
    return f"{endpoint.url} serves {', '.join(tasks)} with model {contract.model_version}"


def check_task(task: Task, answers: Mapping[str, NDArray[Any]], catalogues: Mapping[str, Catalogue], count: int) -> str:
    """Describe the outputs of a task for `count` requests. Raises ContractError where they violate the contract."""
    for spec in task_outputs(task):
        _check_tensor(spec, answers[spec.name], count)
    if task.catalogue is None:
        values = answers[task_outputs(task)[0].name]
        return f"{task.name}: {count} requests, values from {values.min():.3g} to {values.max():.3g}"
    ids, scores = answers[f"{task.name}_ids"], answers[f"{task.name}_scores"]
    known = len(catalogues[task.catalogue])
    if ids.min() < PADDING_ROW or ids.max() > known:
        raise ContractError(f"{task.name}_ids: rows {ids.min()} to {ids.max()}; {task.catalogue} has rows 1 to {known}")
    listed = (scores > MASKED_SCORE / 2) & (ids != PADDING_ROW)
    for position in range(count):
        chosen = ids[position][listed[position]]
        if not len(chosen):
            raise ContractError(f"{task.name}_ids: request {position} has an empty list")
        if len(np.unique(chosen)) != len(chosen):
            raise ContractError(f"{task.name}_ids: request {position} has a row twice")
        if (np.diff(scores[position]) > 0).any():
            raise ContractError(f"{task.name}_scores: those of request {position} do not fall")
    return f"{task.name}: {count} requests, {listed.sum(axis=1).min()} rows or more of {known} each"


def _check_tensor(spec: TensorSpec, values: NDArray[Any], count: int) -> None:
    if values.dtype != DTYPES[spec.dtype] or values.shape != (count, *spec.shape):
        found = f"{values.dtype} {values.shape}"
        raise ContractError(f"{spec.name}: {found}; the contract requires {spec.dtype} {(count, *spec.shape)}")
    if not np.isfinite(values).all():
        raise ContractError(f"{spec.name}: has values that are not finite")


def _requests(bundle: Bundle) -> list[RequestFeatures]:
    """Somebody of whom nothing is known, and users of the catalogue with and without a history."""
    random = np.random.default_rng(bundle.contract.scenario.training.seed)
    users, items = bundle.catalogues[USERS], bundle.catalogues.get(ITEMS)
    found = [RequestFeatures()]
    for row in random.integers(1, len(users) + 1, ASKED - 1).tolist():
        history: list[Any] = []
        if items is not None and len(found) % 2:
            history = [items.external(item) for item in random.integers(1, len(items) + 1, HISTORY).tolist()]
        found.append(RequestFeatures(users.external(row), users.record(row), history=history))
    return found
