"""What the commands that grow a model share: the last version in a workspace, and how the next one is published.

The checkpoint of a version is in the registry next to its bundle (`polytask.registry.files`); that of one which was
published without has to be given.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from pipelines.local_runner.workspace import Places
from polytask.contract.contract import REPOSITORY_FOLDER, Contract, load_contract
from polytask.environment import stay_on_this_machine
from polytask.errors import ContractError, DataError
from polytask.registry.files import CHECKPOINTS
from polytask.registry.folder import FolderRegistry
from polytask.registry.version import ModelVersion
from polytask.scenario import load_scenario, scenario_path
from polytask.storage.atomic import temporary_folder

if TYPE_CHECKING:  # torch takes seconds to import: only the commands that run pay for it
    from polytask.registry.trained import Version

ScenarioOption = Annotated[str, typer.Option(help="Name of a scenario, or the path of a file.")]
WorkspaceOption = Annotated[Path, typer.Option(help="Workspace of the demo that trained the last version.")]
CheckpointOption = Annotated[Path | None, typer.Option(help="Folder of the model; default: the last version's.")]
BundleOption = Annotated[Path | None, typer.Option(help="Folder of its bundle; default: the published one.")]
GateOption = Annotated[
    bool,
    typer.Option(help="Publish only what passes its gate baselines and is no worse than the live model."),
]


@dataclass(frozen=True)
class UpdateContext:
    """What grows: the scenario's file, its places in the workspace, and the last version."""

    file: Path
    places: Places
    previous: "Version"

    def publish(self, made: Path, data: Path) -> Path:
        """Publish the bundle in `made` with its checkpoint, which the next version starts from; returns the folder.

        `data` is what it was made of: a training set, or a catalogue of items.
        """
        from polytask.jobs.live_version import lineage_after
        from serving.rollout.publish import publish

        lineage = lineage_after(self.previous.contract(), data)
        return publish(made / "bundle", self.places.published, made / "model", lineage)

    def judge(self, made: Path, tables: Path, training_set: Path, console: Console) -> None:
        """Compare the version in `made` with its gate baselines and with the model that it would replace.

        That is the live one of the workspace, or else the version it updates. The verdict is printed.
        Raises GateError, with every task and number, where it is refused.
        """
        from polytask.evaluation.gate import GateError
        from polytask.jobs.compare import judge_update
        from polytask.registry.trained import Version

        version = Version(made / "model", made / "bundle")
        scenario = load_scenario(self.file)
        verdict = judge_update(scenario, tables, training_set, version, self._rival(), made, line_printer(console))
        if not verdict.passed:
            raise GateError(verdict.line())
        print_line(console, f"[green]\N{CHECK MARK}[/] gate: {escape(verdict.line())}")

    def _rival(self) -> ModelVersion:
        contract = self.previous.contract()
        live = FolderRegistry(self.places.published).live()
        if live is not None and live.version != contract.model_version:
            return live
        return ModelVersion(
            version=contract.model_version,
            scenario=contract.scenario.name,
            bundle=str(self.previous.bundle),
            checkpoint=str(self.previous.checkpoint),
        )

    @contextmanager
    def temporary_directory(self) -> Iterator[Path]:
        """A folder for what is being made, on the same disk; it is removed in the end."""
        with temporary_folder(self.places.folder / "update") as folder:
            yield folder


def update_context(scenario: str, workspace: Path, checkpoint: Path | None, bundle: Path | None) -> UpdateContext:
    """Find the last version: the one given, or the published one of the workspace.

    Raises DataError where there is none, and ScenarioError where the scenario's file no longer fits it.
    """
    from polytask.jobs.live_version import check_fits
    from polytask.registry.trained import Version

    stay_on_this_machine()
    file = scenario_path(scenario).resolve()
    loaded = load_scenario(file)
    places = Places(workspace.resolve(), loaded.name)
    bundle = (bundle or places.published / "current").resolve()
    try:
        contract = load_contract(bundle)
    except ContractError as error:
        raise DataError(
            f"no last version to start from ({error}); `polytask demo` makes one, or give --bundle"
        ) from error
    check_fits(loaded, contract, file)
    if checkpoint is None:
        # Never the newest model of the workspace, which may belong to another version.
        checkpoint = bundle.parent / CHECKPOINTS / str(contract.model_version)
        if not checkpoint.is_dir():
            raise DataError(
                f"--checkpoint: is not given, and {checkpoint} is missing; allowed: the folder of the model that "
                f"{bundle} was exported from"
            )
    if not (checkpoint / "model.safetensors").is_file():
        raise DataError(f"--checkpoint: {checkpoint} has no model.safetensors")
    return UpdateContext(file, places, Version(checkpoint, bundle))


def write_repository(contract: Contract, folder: Path) -> None:
    """Add Triton's model repository to a bundle."""
    from serving.triton.repository import write_repository as write

    write(contract, folder / REPOSITORY_FOLDER)


def line_printer(console: Console) -> Callable[[str], None]:
    """Shows progress as dim lines."""
    return lambda line: console.print(f"[dim]{escape(line)}[/]", highlight=False, soft_wrap=True)


def print_line(console: Console, line: str) -> None:
    """Print a line as it is: no colours of numbers, no break in the middle of a path."""
    console.print(line, highlight=False, soft_wrap=True)
