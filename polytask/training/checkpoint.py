"""A trained model on disk: a folder with safetensors weights, the scenario, and how training went. No pickles."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from polytask.errors import ContractError
from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import atomic_folder, sha256_file
from polytask.storage.safetensors_file import save_tensors
from polytask.text.language_model import LanguageModel
from polytask.training.loop import Epoch

WEIGHTS_FILE = "model.safetensors"
SCENARIO_FILE = "scenario.json"
HISTORY_FILE = "training.json"
ENCODER_FOLDER = "encoder"


def save_checkpoint(
    model: MultiTaskModel, history: list[Epoch], encoder_sha256: str, folder: Path, tuned: Path | None = None
) -> None:
    """Write the model's folder as a whole. `encoder_sha256` identifies the encoder of its text vectors.

    `tuned` is the folder of that language model where it is not the scenario's own; it is copied into the checkpoint.
    """
    with atomic_folder(folder) as temporary:
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_tensors(weights, temporary / WEIGHTS_FILE)
        (temporary / SCENARIO_FILE).write_text(model.scenario.model_dump_json(indent=2), encoding="utf-8")
        content = {"encoder_sha256": encoder_sha256, "epochs": [asdict(epoch) for epoch in history]}
        (temporary / HISTORY_FILE).write_text(json.dumps(content, indent=2), encoding="utf-8")
        if tuned is not None:
            shutil.copytree(tuned, temporary / ENCODER_FOLDER)


def language_model_of(checkpoint: Path, scenario: Scenario, cache: Path | None = None) -> LanguageModel:
    """The language model that belongs to a checkpoint: the tuned one inside it, or else the scenario's own."""
    tuned = checkpoint / ENCODER_FOLDER
    return LanguageModel(scenario, cache, tuned if tuned.is_dir() else None)


def load_checkpoint(folder: Path, encoder_sha256: str) -> MultiTaskModel:
    """The model of a folder, in evaluation mode. Raises ContractError when another language model was trained on."""
    expected = trained_on(folder)
    if expected != encoder_sha256:
        raise ContractError(f"{folder}: trained on encoder {expected}, the scenario's encoder is {encoder_sha256}")
    scenario = Scenario.model_validate_json((folder / SCENARIO_FILE).read_text(encoding="utf-8"))
    weights = load_file(folder / WEIGHTS_FILE)
    model = empty_model(scenario, weights)
    model.load_state_dict(weights)
    model.eval()
    return model


def trained_on(folder: Path) -> str:
    """Checksum of the language model whose text vectors a checkpoint was trained on."""
    checksum: str = json.loads((folder / HISTORY_FILE).read_text(encoding="utf-8"))["encoder_sha256"]
    return checksum


def checkpoint_sha256(folder: Path) -> str:
    """Hex SHA-256 of the weights alone: equal for two runs that gave the same model."""
    return sha256_file(folder / WEIGHTS_FILE)


def empty_model(scenario: Scenario, weights: dict[str, Tensor]) -> MultiTaskModel:
    """A model for `scenario` whose catalogues have as many rows as in `weights`."""
    item_texts = torch.zeros_like(weights["item_table.text_vectors"]) if scenario.has_items else None
    users = len(weights["user_table.weight"]) - 1 if scenario.lists_users else 0
    return MultiTaskModel(scenario, item_texts, request_texts=torch.zeros(2, len(weights["text.0.mean"])), users=users)
