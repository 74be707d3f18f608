"""The contract between training and serving: `contract.json`, written by the exporter next to the ONNX files.

The serving side reads names, shapes, lengths and catalogues from it alone, refuses a mismatch at load, and echoes
`model_version` and `checksum` in every response.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from polytask.contract.tensors import TensorSpec, response_outputs
from polytask.errors import ContractError
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import sha256_file, write_text

CONTRACT_FILE = "contract.json"
TOKENIZER_FILE = "tokenizer.json"
REPOSITORY_FOLDER = "repository"
TEXT_ENCODER = "text_encoder"
MULTITASK = "multitask"
RECOMMENDER = "recommender"
# Raised where a bundle that was written before cannot be served any more. 2: filters are the input `allowed`, outputs
# have the sizes of their ONNX file.
FORMAT: Literal[1, 2] = 2


class FileSum(BaseModel):
    """A file of the bundle: its path relative to `contract.json` and its SHA-256."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    sha256: str


class CatalogueSpec(FileSum):
    """A catalogue file (row -> external id, title, columns) and its number of rows without the padding row 0."""

    rows: int


class TaskFigures(BaseModel):
    """How a task's predictions in reduced precision compare with those in float32, on validation requests.

    `agreement` is the share that stays the same; `metric` has the value `float32` there, loses `loss` (below 0: gains),
    and `interval` holds 95% of the paired bootstrap of that loss. Without a label there is no metric to compare.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agreement: float
    metric: str
    float32: float | None = None
    loss: float | None = None
    interval: tuple[float, float] | None = None


class GraphPrecision(BaseModel):
    """The number format that a graph computes in, and why. Its inputs and outputs are float32 in any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: Literal["fp32", "int8", "fp16"]
    reason: str
    tasks: dict[str, TaskFigures] = {}


class Contract(BaseModel):
    """Everything serving must know about a model. Shapes leave the batch axis out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1, 2] = FORMAT
    model_version: int
    scenario: Scenario
    text_dim: int
    max_tokens: int
    text_inputs: tuple[TensorSpec, ...]
    text_outputs: tuple[TensorSpec, ...]
    multitask_inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    feature_service: str
    encoder_sha256: str
    tokenizer: FileSum
    catalogues: dict[str, CatalogueSpec]
    priorities: FileSum | None = None
    models: dict[str, FileSum]
    metrics: dict[str, dict[str, float]]
    # Rows of the items that were added after training: in lists they are ranked below the first of the others.
    new_items: tuple[int, ...] = ()
    precisions: dict[str, GraphPrecision] = {}

    def precision_of(self, model: str) -> str:
        """The number format that the graph `model` computes in."""
        return self.precisions[model].precision if model in self.precisions else "fp32"

    @property
    def answers(self) -> list[TensorSpec]:
        """The outputs of the tasks: those of a request that names no outputs."""
        names = {spec.name for spec in response_outputs(self.scenario)}
        return [spec for spec in self.outputs if spec.name in names]

    @property
    def ensemble_inputs(self) -> list[TensorSpec]:
        """What the ensemble of both models reads."""
        between = {spec.name for spec in self.text_outputs}
        return [*self.text_inputs, *(spec for spec in self.multitask_inputs if spec.name not in between)]

    @property
    def ensemble_outputs(self) -> list[TensorSpec]:
        """What the ensemble returns: the tensors of all tasks, and the text vectors."""
        return list(self.outputs)

    @property
    def checksum(self) -> str:
        """Hex SHA-256 of the canonical JSON: equal contracts have equal checksums whatever the file's white space.

        Defaults are left out: a field that a later release adds changes no contract that was written before. So is the
        format, for the same reason.
        """
        content = self.model_dump(mode="json", exclude_defaults=True, exclude={"format"})
        return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def transformer_files(self) -> list[FileSum]:
        """The files that the transformer reads in addition to the contract."""
        priorities = [] if self.priorities is None else [self.priorities]
        return [self.tokenizer, *self.catalogues.values(), *priorities]

    def save(self, folder: Path) -> Path:
        """Write `contract.json` into `folder`."""
        path = folder / CONTRACT_FILE
        content: dict[str, Any] = {"checksum": self.checksum, **self.model_dump(mode="json")}
        write_text(path, json.dumps(content, indent=2) + "\n")
        return path


def load_contract(folder: Path, verify_files: bool = True, older: bool = False) -> Contract:
    """Read `contract.json` in `folder`; with `verify_files` compare the checksum of every file it names.

    With `older` a bundle of an older format is read too: it cannot be served, but its scenario, metrics and catalogues
    can be compared with those of another version.
    Raises ContractError with both values where something does not match.
    """
    path = folder / CONTRACT_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ContractError(f"{path}: cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise ContractError(f"{path}: is not JSON: {error}") from error
    if isinstance(content, dict):
        _check_format(path, content.get("format", FORMAT), older)
    written = content.pop("checksum", None) if isinstance(content, dict) else None
    try:
        contract = Contract.model_validate(content)
    except ValidationError as error:
        raise ContractError(f"{path}: {error}") from error
    if written != contract.checksum:
        raise ContractError(f"{path}: checksum {written}, its content has {contract.checksum}")
    if verify_files:
        for file in [*contract.transformer_files(), *contract.models.values()]:
            _verify(folder / file.path, file.sha256)
    return contract


def _check_format(path: Path, written: object, older: bool) -> None:
    newer = not isinstance(written, int) or written > FORMAT
    if written == FORMAT or (older and not newer):
        return
    todo = "update this program, or export it again with it" if newer else "export it again"
    raise ContractError(f"{path}: format {written}; this program reads format {FORMAT}: {todo}")


def _verify(path: Path, expected: str) -> None:
    if not path.is_file():
        raise ContractError(f"{path}: is missing, the contract names it with checksum {expected}")
    actual = sha256_file(path)
    if actual != expected:
        raise ContractError(f"{path}: checksum {actual}, the contract has {expected}")
