"""The live version of a model as the one that the next grows from."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polytask.contract.contract import Contract
from polytask.errors import DataError, ScenarioError
from polytask.jobs.updates import BUNDLE, MODEL
from polytask.registry.lineage import lineage_of
from polytask.registry.trained import Version
from polytask.registry.version import ModelVersion
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import temporary_folder

# The sections that a model was trained with: a scenario file with other values describes another model.
TRAINED_WITH = ("entities", "text", "features", "encoder", "model")


def version_of(live: ModelVersion | None, folder: Path) -> Version:
    """The live version of the registry in `folder`, with its checkpoint. Raises DataError where there is none."""
    if live is None:
        raise DataError(f"{folder}: no version is live; allowed: a folder that a pipeline has published a model to")
    if live.checkpoint is None:
        raise DataError(f"{folder}: version {live.version} has no checkpoint in the registry; publish it with one")
    return Version(Path(live.checkpoint), Path(live.bundle))


def check_fits(scenario: Scenario, contract: Contract, file: object) -> None:
    """Raise ScenarioError where a scenario, which errors call `file`, no longer describes the model of a contract."""
    for part in TRAINED_WITH:
        # As a contract has them: fields that do not change the model, such as `personal` of a column, are left out.
        now, then = (getattr(one, part).model_dump() for one in (scenario, contract.scenario))
        if now != then:
            raise ScenarioError(
                f"{file}: {part} differs from what version {contract.model_version} was trained with; allowed: the "
                f"same, or train a new model with `polytask demo` (now {_short(now)}, then {_short(then)})"
            )


def lineage_after(parent: Contract, data: Path) -> dict[str, str]:
    """The lineage of a version that updates another with `data`: a training set, or a catalogue of items."""
    return lineage_of(parent.scenario, data, parent.model_version)


@contextmanager
def made_for(model: Path, bundle: Path) -> Iterator[Path]:
    """Provide a temporary folder for a job that writes the next version.

    Args:
        model: Folder of the checkpoint, which is created when the block ends without an error.
        bundle: Folder of the bundle, which is created likewise.

    Yields:
        The temporary folder, in which the job writes `model` and `bundle`.
    """
    model.parent.mkdir(parents=True, exist_ok=True)
    bundle.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(model) as folder:
        yield folder
        shutil.move(folder / MODEL, model)
        shutil.move(folder / BUNDLE, bundle)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:117] + "..."
