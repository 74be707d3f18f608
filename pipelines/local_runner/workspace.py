"""Where the commands keep what they make: one folder per scenario below the workspace, and the last demo's summary."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from polytask.errors import DataError
from polytask.storage.atomic import sha256_file, write_text

WORKSPACE = Path("build/demo")
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Places:
    """The paths of one scenario: everything is stored below `<workspace>/<scenario>`."""

    workspace: Path
    scenario: str

    @property
    def folder(self) -> Path:
        """The scenario's own folder."""
        return self.workspace / self.scenario

    @property
    def feature_store(self) -> Path:
        """Folder of the feature store."""
        return self.folder / "feature_store"

    @property
    def pipeline(self) -> Path:
        """Root of the local runner: artefacts, cache, log."""
        return self.folder / "pipeline"

    @property
    def published(self) -> Path:
        """Folder of the published versions."""
        return self.folder / "published"

    @property
    def serving_logs(self) -> Path:
        """Logs of the servers that the demo starts."""
        return self.folder / "serve"

    @property
    def summary(self) -> Path:
        """The metrics and recommendations of the last demo of this scenario."""
        return self.folder / SUMMARY

    @property
    def last_summary(self) -> Path:
        """A copy of the summary of the last demo of any scenario."""
        return self.workspace / SUMMARY

    @property
    def owner(self) -> Path:
        """A file with the path of the scenario file that the folder belongs to."""
        return self.folder / "scenario-file.txt"


def claimed(workspace: Path, file: Path, scenario: str, console: Console) -> Places:
    """The places of a scenario, which belong to its `file` from now on.

    The same file may change, and may be moved or renamed; a copy with equal content is the same scenario. Raises
    DataError where the folder belongs to another file of the same name: two scenarios would mix their models,
    features and caches.
    """
    places = Places(workspace, scenario)
    other = Path(places.owner.read_text(encoding="utf-8").strip()) if places.owner.is_file() else None
    if other is not None and other != file:
        if other.is_file() and sha256_file(other) != sha256_file(file):
            raise DataError(
                f"{places.folder}: belongs to the scenario file {other}; {file} is another one of the same name, "
                f"{scenario!r}. Give it a `name` or a workspace of its own, or, if it replaces the other, delete "
                f"{places.owner}"
            )
        console.print(f"{places.folder}: belonged to {other}, now to {file}", highlight=False, soft_wrap=True)
    if other != file:
        write_text(places.owner, f"{file}\n")
    return places
