"""Where machines that train one model meet: inputs in, the state of the training, the model out, each file checked.

A place is a folder that all of them mount, or object storage (s3://, gs://), which none has to mount.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from polytask.errors import TrainingError
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import atomic_folder, sha256_file
from polytask.storage.object_storage import bring, fetch, file_system, read, write

# Each is written last: who finds one finds all that it names.
JOB_FILE, RESULT_FILE = "job.json", "result.json"
TABLES, TRAINING_SET, MODEL, STATE = "tables", "training_set", "model", "state"

TrainResult = dict[str, str | float]


@dataclass(frozen=True)
class Inputs:
    """What a training reads: the scenario, and paths of this machine."""

    scenario: Scenario
    tables: Path
    training_set: Path

    def content(self) -> dict[str, Any]:
        """The scenario and the SHA-256 of every file, as JSON has it: equal for equal inputs."""
        files = {**_files_of(self.tables, TABLES), **_files_of(self.training_set, TRAINING_SET)}
        sums = {name: sha256_file(path) for name, path in files.items()}
        return {"scenario": self.scenario.model_dump(mode="json"), "files": sums}


class Exchange:
    """The place of one training. All methods raise TrainingError where the storage refuses or does not respond."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/") if "://" in address else str(Path(address).resolve())
        with self._reported():
            self._files, self._root = file_system(self.address)

    def put_inputs(self, inputs: Inputs) -> int:
        """Bring the inputs there; returns how many files were not there yet."""
        files = {**_files_of(inputs.tables, TABLES), **_files_of(inputs.training_set, TRAINING_SET)}
        return self._put(files, JOB_FILE, inputs.content())

    def fetch_inputs(self, folder: Path) -> Inputs:
        """Copy the inputs into `folder`; what is there already, byte for byte, stays."""
        content = self._manifest(JOB_FILE)
        if content is None:
            raise TrainingError(f"{self.address}/{JOB_FILE}: is missing; allowed: a place that a step has filled")
        self._fetch(content["files"], "", folder)
        return Inputs(Scenario.model_validate(content["scenario"]), folder / TABLES, folder / TRAINING_SET)

    def put_state(self, path: Path) -> None:
        """Keep the state of an interrupted training, which its name identifies."""
        with self._reported():
            write(self._files, f"{self._root}/{STATE}/{path.name}", path)

    def fetch_state(self, path: Path) -> bool:
        """Copy the state of this name to `path`; whether there was one."""
        there = f"{self._root}/{STATE}/{path.name}"
        with self._reported():
            if not self._files.get_file_info(there).is_file:
                return False
            fetch(self._files, there, path)
            return True

    def put_model(self, model: Path, result: TrainResult) -> None:
        """Bring the checkpoint folder `model` there, and what the training came to."""
        files = _files_of(model, MODEL)
        self._put(files, RESULT_FILE, {"files": {n: sha256_file(p) for n, p in files.items()}, "came_to": result})

    def fetch_model(self, target: Path) -> TrainResult | None:
        """Copy the checkpoint to a folder of this machine.

        Args:
            target: Folder of the copy; it is left alone where a file is damaged.

        Returns:
            The result of the training, as `train_model` returns it; None where no training has ended.

        Raises:
            TrainingError: A file differs from the one that was written, or the storage is unavailable.
        """
        content = self._manifest(RESULT_FILE)
        if content is None:
            return None
        with atomic_folder(target) as temporary:
            self._fetch(content["files"], f"{MODEL}/", temporary)
        result: TrainResult = content["came_to"]
        return result

    def _put(self, files: Mapping[str, Path], last: str, content: Mapping[str, Any]) -> int:
        with self._reported(), TemporaryDirectory() as folder:
            written = sum(bring(self._files, f"{self._root}/{name}", path) for name, path in files.items())
            manifest = Path(folder) / last
            manifest.write_text(json.dumps(content), encoding="utf-8")
            return written + bring(self._files, f"{self._root}/{last}", manifest)

    def _manifest(self, name: str) -> Any:
        with self._reported():
            there = read(self._files, f"{self._root}/{name}")
        try:
            return None if there is None else json.loads(there)
        except ValueError as error:
            raise TrainingError(f"{self.address}/{name}: is no JSON; clear the folder") from error

    def _fetch(self, files: Mapping[str, str], prefix: str, folder: Path) -> None:
        """Copy the files that a manifest names, without `prefix`, and compare them with it."""
        for name, wanted in files.items():
            place = PurePosixPath(name.removeprefix(prefix))
            if place.is_absolute() or ".." in place.parts:
                raise TrainingError(f"{self.address}: names the file {name!r}; allowed: files below it")
            target = folder / place
            if target.is_file() and sha256_file(target) == wanted:
                continue
            with self._reported():
                fetch(self._files, f"{self._root}/{name}", target)
            if (found := sha256_file(target)) != wanted:
                raise TrainingError(f"{self.address}/{name}: has SHA-256 {found}, written was {wanted}")

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = " ".join(str(error).split())
            raise TrainingError(
                f"{self.address}: {reason}; allowed: a folder or object storage that step and nodes may read and write"
            ) from error


def _files_of(path: Path, name: str) -> dict[str, Path]:
    """The files of a folder by `<name>/<relative path>`, or the one file by `name`."""
    if path.is_file():
        return {name: path}
    files = sorted(one for one in path.rglob("*") if one.is_file())
    return {f"{name}/{one.relative_to(path).as_posix()}": one for one in files}
