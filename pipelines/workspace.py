"""Where the commands keep what they make: one folder per scenario below the workspace, and the last demo's summary."""

from dataclasses import dataclass
from pathlib import Path

from polytask.errors import PolytaskError

WORKSPACE = Path("build/demo")
SUMMARY = "summary.json"


@dataclass(frozen=True)
class Places:
    """The places of one scenario: everything lies below `<workspace>/<scenario>`."""

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
        """What the last demo of this scenario measured and answered."""
        return self.folder / SUMMARY

    @property
    def last_summary(self) -> Path:
        """A copy of the summary of the last demo of any scenario."""
        return self.workspace / SUMMARY

    def step_file(self, step: str, output: str) -> Path:
        """The newest output of a step: the runner keeps a folder per run, in which a reused step has none."""
        found = sorted(self.pipeline.glob(f"*/{step}/{output}"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise PolytaskError(f"step {step!r} left no {output!r} below {self.pipeline}")
        return found[-1]
