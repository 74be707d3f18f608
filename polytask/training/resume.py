"""Where an interrupted training goes on: one safetensors file, its header holds the numbers as JSON. No pickles."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from polytask.registry.lineage import code_sha256
from polytask.storage.atomic import atomic_file
from polytask.storage.safetensors_file import save_tensors
from polytask.training.distributed import Processes

HEADER = "progress"


@dataclass(frozen=True)
class Progress:
    """All that changes while training goes on.

    `weights` are the live tensors: they are read, and written in place. `epochs` are the finished ones as mappings.
    """

    weights: dict[str, Tensor]
    optimizer: Optimizer
    schedule: LRScheduler
    random: np.random.Generator
    epochs: list[dict[str, Any]]


class TrainingState:
    """A file with the state of the last finished epoch of one training. `key` identifies the training.

    `keep` is called with the file each time that it was written, to bring it where this machine's end is outlived.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        log: Callable[[str], None] = print,
        keep: Callable[[Path], None] | None = None,
    ) -> None:
        self.path = path
        self.key = key
        self._log = log
        self._keep = keep

    def load(self, progress: Progress, processes: Processes) -> None:
        """Bring `progress` to the state of the file. Without a file of this key it stays as it is."""
        if not self.path.is_file():
            return
        try:
            with safe_open(self.path, framework="pt") as file:
                header = json.loads(file.metadata()[HEADER])
                saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, TypeError, KeyError, ValueError) as error:
            # A writer to object storage that was stopped midway may leave a part of a file.
            self._log(f"{self.path}: is no resume state ({error}); starting from scratch")
            return
        key = self._key(processes)
        if header["key"] != key:
            found, expected = header["key"][:12], key[:12]
            self._log(f"{self.path}: belongs to a different run (key {found}, not {expected}); starting from scratch")
            return
        with torch.no_grad():
            for name, tensor in progress.weights.items():
                tensor.copy_(saved[f"weights.{name}"])
        progress.optimizer.load_state_dict(
            {"state": _nested(saved, "optimizer."), "param_groups": header["param_groups"]}
        )
        progress.schedule.load_state_dict(header["schedule"])
        progress.random.bit_generator.state = header["random"]
        processes.set_random_state(saved["random_states"])
        progress.epochs.extend(header["epochs"])
        self._log(f"resumed after epoch {len(progress.epochs)} from {self.path}")

    def save(self, progress: Progress, processes: Processes) -> None:
        """Replace the file by the present state."""
        states = processes.random_states()
        if not processes.is_main:
            return
        tensors = {f"weights.{name}": tensor for name, tensor in progress.weights.items()}
        state = progress.optimizer.state_dict()
        for number, values in state["state"].items():
            tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in values.items()}
        tensors["random_states"] = states
        header = {
            "key": self._key(processes),
            "param_groups": state["param_groups"],
            "schedule": progress.schedule.state_dict(),
            "random": progress.random.bit_generator.state,
            "epochs": progress.epochs,
        }
        contents = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        with atomic_file(self.path) as temporary:
            save_tensors(contents, temporary, {HEADER: json.dumps(header)})
        if self._keep is not None:
            self._keep(self.path)

    def remove(self) -> None:
        """Forget the state: the training that it belongs to is done."""
        self.path.unlink(missing_ok=True)

    def _key(self, processes: Processes) -> str:
        # Each process has random numbers of its own: with more or fewer of them the run could not be repeated.
        return f"{self.key}-{processes.count}"


def training_key(*inputs: str) -> str:
    """Names a training by its inputs (checksums and texts) and by the code of this library."""
    return sha256("\n".join([*inputs, code_sha256(), torch.__version__]).encode()).hexdigest()


def _nested(saved: dict[str, Tensor], prefix: str) -> dict[int, dict[str, Any]]:
    """`optimizer.3.exp_avg` -> {3: {"exp_avg": ...}}."""
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in saved.items():
        if name.startswith(prefix):
            number, part = name.removeprefix(prefix).split(".")
            state.setdefault(int(number), {})[part] = tensor
    return state
