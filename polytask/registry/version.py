"""A registered version of a model, and what every registry can do with versions."""

from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from polytask.errors import PolytaskError

Metrics = dict[str, dict[str, float]]


class RegistryError(PolytaskError):
    """A version is not known, or cannot become the live one."""


class ModelVersion(BaseModel):
    """A version: where it lies, how good it was on its test split, what it was made of, what was noted about it.

    `bundle` and `checkpoint` are folders; a version that was published before there was a registry has no checkpoint.
    `created` and `promoted` are times in ISO 8601, UTC; `promoted` is None until the version was made the live one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: int
    scenario: str
    bundle: str
    checkpoint: str | None = None
    contract_sha256: str = ""
    metrics: Metrics = {}
    lineage: dict[str, str] = {}
    tags: dict[str, str] = {}
    created: str = ""
    promoted: str | None = None


class ModelRegistry(Protocol):
    """The versions of one scenario's model."""

    def register(self, bundle: Path, checkpoint: Path | None, lineage: dict[str, str]) -> ModelVersion:
        """Note a published bundle as a version and keep its checkpoint; the same version again keeps its tags."""

    def versions(self) -> list[ModelVersion]:
        """All versions, the oldest first."""

    def live(self) -> ModelVersion | None:
        """The version that is served; None before the first."""

    def tag(self, version: int, name: str, value: str) -> ModelVersion:
        """Note something about a version. Raises RegistryError for an unknown one."""

    def promote(self, version: int) -> ModelVersion:
        """Make a version the live one. Raises RegistryError for an unknown one."""

    def roll_back(self, reason: str, to: int | None = None) -> ModelVersion:
        """Make the version that was promoted before the live one, or `to`, live again, and tag the one it leaves.

        Raises RegistryError where there is none.
        """
