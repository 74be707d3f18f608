"""Trained models in a folder, one sub-folder each, retrained when code, scenario, seed or data have changed."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from polytask.model.multitask import MultiTaskModel
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import sha256_file, sha256_folder, write_text
from polytask.training.checkpoint import HISTORY_FILE, load_checkpoint, trained_on

KEY_FILE = "key.txt"
# Code that runs after training; a change there leaves the weights as they are.
AFTER_TRAINING = ("evaluation", "experiment", "export", "metrics", "presentation", "updates")


@dataclass(frozen=True)
class Trained:
    """A model with the epochs of its training; `reused` where it was there already."""

    name: str
    model: MultiTaskModel
    epochs: list[dict[str, Any]]
    reused: bool

    @property
    def seconds(self) -> float:
        """How long its training took, when it took place."""
        return round(sum(float(epoch["seconds"]) for epoch in self.epochs), 1)


class Trainings:
    """The models below `folder`. `inputs` are checksums of all that the trainings read except the scenario."""

    def __init__(self, folder: Path, inputs: Sequence[str]) -> None:
        self.folder = folder
        self._inputs = [*inputs, *_training_code(), torch.__version__]

    def get(self, name: str, scenario: Scenario, encoder_sha256: str, train: Callable[[Path], object]) -> Trained:
        """The model `name`; where needed, `train(folder)` writes its checkpoint, starting from `encoder_sha256`."""
        target = self.folder / name
        # The settings of the evaluation do not change the trained model.
        content = scenario.model_dump_json(exclude={"evaluation", "examples"})
        key = sha256("\n".join([name, content, encoder_sha256, *self._inputs]).encode()).hexdigest()
        key_file = target / KEY_FILE
        reused = key_file.is_file() and key_file.read_text(encoding="utf-8") == key
        if not reused:
            train(target)
            write_text(key_file, key)
        model = load_checkpoint(target, trained_on(target))
        epochs = json.loads((target / HISTORY_FILE).read_text(encoding="utf-8"))["epochs"]
        return Trained(name, model, epochs, reused)


def data_sha256(tables: Path, training_set: Path) -> str:
    """A checksum of what ingest and the feature store gave."""
    return sha256((sha256_folder(tables) + sha256_file(training_set)).encode()).hexdigest()


def _training_code() -> list[str]:
    package = Path(__file__).resolve().parents[1]
    files = sorted(path.relative_to(package) for path in package.rglob("*.py"))
    return [f"{file} {sha256_file(package / file)}" for file in files if file.parts[0] not in AFTER_TRAINING]
