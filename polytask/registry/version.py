"""A registered version of a model, and what every registry can do with versions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from polytask.errors import PolytaskError

Metrics = dict[str, dict[str, float]]

# The tag of a version that was rolled back from: when, to which one, why.
ROLLED_BACK = "rolled_back"
# The tag of a version that took the place of another: which one.
REPLACES = "replaces"


class RegistryError(PolytaskError):
    """A version is not known, or cannot become the live one."""


class ModelVersion(BaseModel):
    """A version: where it lies, how good it was on its test split, what it was made of, what was noted about it.

    `bundle` and `checkpoint` are folders, or addresses where this machine does not have the folders; a version that was
    published before there was a registry has no checkpoint.
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
    """The versions of one scenario's model. As text it is the place where they are registered."""

    def __str__(self) -> str:
        """Its folder or address."""

    def register(self, bundle: Path, checkpoint: Path | None, lineage: dict[str, str]) -> ModelVersion:
        """Note a published bundle as a version and keep its checkpoint; the same version again keeps its tags."""

    def versions(self) -> list[ModelVersion]:
        """All versions, the oldest first."""

    def live(self) -> ModelVersion | None:
        """The version that is served; None before the first."""

    def tag(self, version: int, name: str, value: str) -> ModelVersion:
        """Note something about a version. Raises RegistryError for an unknown one."""

    def promote(self, version: int) -> ModelVersion:
        """Make a version the live one.

        Raises RegistryError for an unknown one, ContractError for one whose bundle cannot be served any more.
        """

    def roll_back(self, reason: str, to: int | None = None) -> ModelVersion:
        """Make the version that was promoted before the live one, or `to`, live again, and tag the one it leaves.

        Raises RegistryError where there is none, ContractError where its bundle cannot be served any more.
        """

    def remove(self, version: int) -> None:
        """Delete the files of a version and take it off the list.

        Raises RegistryError for an unknown version and for the live one.
        """

    def replace(self, version: int, by: int) -> ModelVersion:
        """Let the registered version `by` take the place of `version`: its promotion, its tags, live where it was.

        `version` is removed afterwards. Returns `by`. Raises RegistryError for an unknown version.
        """


def check_removable(version: int, live: ModelVersion | None, place: str) -> None:
    """Raise RegistryError, which names the registry `place`, for the live version."""
    if live is not None and live.version == version:
        raise RegistryError(f"{place}: version {version} is live and cannot be removed; make another one live first")


def version_before(versions: Sequence[ModelVersion], live: ModelVersion | None, place: str, to: int | None) -> int:
    """The version to roll back to: `to`, or the one promoted last before the live one.

    Raises RegistryError, which names the registry `place`, where there is none or it is live already.
    """
    if live is None:
        raise RegistryError(f"{place}: no version is live; there is nothing to roll back from")
    if to is None:
        earlier = [v for v in versions if v.promoted and v.version != live.version]
        earlier = [v for v in earlier if live.promoted is None or (v.promoted or "") < live.promoted]
        if not earlier:
            raise RegistryError(f"{place}: no version was live before {live.version}")
        return max(earlier, key=lambda v: v.promoted or "").version
    if to == live.version:
        raise RegistryError(f"{place}: version {to} is live already")
    return to


def now() -> str:
    """The time in UTC, so that later ones sort behind."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
