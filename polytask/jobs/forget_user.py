"""Take a user out of a trained model: the rows that the catalogue gives the user are cut out, nothing else moves."""

from collections.abc import Hashable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from polytask.contract.contract import Contract
from polytask.contract.tensors import task_outputs
from polytask.data.catalogue import PADDING_ROW, Catalogue, catalogue_of
from polytask.data.request import RequestFeatures
from polytask.errors import DataError
from polytask.jobs.inputs import Log
from polytask.jobs.update_results import requests_on
from polytask.jobs.updates import BUNDLE, MODEL, Finish
from polytask.model.cold_start import load_cold_start, save_cold_start
from polytask.model.multitask import MultiTaskModel
from polytask.model.task_modules import module_name
from polytask.registry.trained import Version
from polytask.scenario.names import ITEMS, USERS
from polytask.training.checkpoint import empty_model, language_model_of, load_checkpoint, save_checkpoint
from polytask.updates.next_version import check_same_responses, export_next


def forget_job(previous: Version, user: Hashable, target: Path, log: Log, finish: Finish | None = None) -> Contract:
    """Write the last version without a user to the folders `model` and `bundle` in `target`.

    The user's row is removed from the catalogue, the priorities, the table of user vectors and the biases; the users
    behind
    it move up by one row. The shared weights, which all users' events have trained, stay. The outputs of tasks that
    list no users stay bit-identical, and those that do are compared with torch as in every export.

    Args:
        previous: Checkpoint and bundle of the last version.
        user: Key of the user.
        target: Folder in which `model` and `bundle` are written.
        log: Called with each line of progress.
        finish: Called with the contract and the folder before the bundle gets its name.

    Returns:
        The contract of the next version.

    Raises:
        DataError: The version's catalogue does not have the user, or has no other user.
        ContractError: An output differs.
    """
    old = previous.contract()
    catalogues = previous.catalogues()
    users = catalogues[USERS]
    row = users.row(user)
    if row == PADDING_ROW:
        raise DataError(f"{USERS}: version {old.model_version} has no user with this key")
    if len(users) == 1:
        raise DataError(f"{USERS}: version {old.model_version} has no other user; allowed: delete the version")
    language_model = language_model_of(previous.checkpoint, old.scenario)
    model = without_user(load_checkpoint(previous.checkpoint, language_model.sha256), row)
    save_checkpoint(model, [], language_model.sha256, target / MODEL, language_model.tuned)
    cold, new_rows = load_cold_start(previous.checkpoint)
    if cold is not None:
        save_cold_start(cold, new_rows, target / MODEL)
    catalogues[USERS] = catalogue_of(old.scenario, USERS, _without_row(users, row))
    requests = _requests(old, catalogues)
    exported = export_next(previous, target / MODEL, catalogues, requests, old.metrics, target / BUNDLE, finish)
    listing = {spec.name for task in old.scenario.tasks if task.catalogue == USERS for spec in task_outputs(task)}
    same = check_same_responses(previous.bundle, target / BUNDLE, requests, listing)
    log(f"version {old.model_version}: exported again without the user, equal in every bit: {', '.join(same)}")
    return exported.contract


def without_user(model: MultiTaskModel, row: int) -> MultiTaskModel:
    """The model without a row (from 1) of the catalogue of users, in evaluation mode."""
    if not model.scenario.lists_users:
        return model.eval()
    weights: dict[str, Tensor] = dict(model.state_dict())
    biases = [f"heads.{module_name(task.name)}.bias" for task in model.scenario.tasks if task.catalogue == USERS]
    for name in ("user_table.weight", *biases):
        weights[name] = torch.cat([weights[name][:row], weights[name][row + 1 :]])
    smaller = empty_model(model.scenario, weights)
    smaller.load_state_dict(weights)
    return smaller.eval()


def _without_row(users: Catalogue, row: int) -> pd.DataFrame:
    return users.table.drop(index=row - 1).reset_index(drop=True)


def _requests(contract: Contract, catalogues: dict[str, Catalogue]) -> list[RequestFeatures]:
    """Requests to compare the graphs on: of unknown users, with histories over the items if there are any."""
    if not contract.scenario.has_items:
        return [RequestFeatures(), RequestFeatures(query="something else")]
    return requests_on(contract.scenario, catalogues[ITEMS])
