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
    """The versions of one scenario's model. `str()` returns the folder or address where they are registered.

    Examples:
        >>> registry = FolderRegistry(Path("build/demo/movielens/published"))
        >>> registry.promote(registry.versions()[-1].version)
    """

    def __str__(self) -> str:
        """Its folder or address."""

    def register(self, bundle: Path, checkpoint: Path | None, lineage: dict[str, str]) -> ModelVersion:
        """Register a published bundle as a version and keep a copy of its checkpoint.

        Args:
            bundle: Folder of the published bundle.
            checkpoint: Folder of the checkpoint that the bundle was exported from; None keeps none.
            lineage: Name -> value of what the version was made from, as `lineage_of` returns it.

        Returns:
            The version. A version that was registered before keeps its tags.

        Raises:
            RegistryError: The bundle is not the published one of its version.
        """

    def versions(self) -> list[ModelVersion]:
        """All versions, the oldest first."""

    def live(self) -> ModelVersion | None:
        """The version that is served; None before the first."""

    def tag(self, version: int, name: str, value: str) -> ModelVersion:
        """Set a tag of a version.

        Args:
            version: Number of the version.
            name: Name of the tag; a tag of this name is replaced.
            value: Value of the tag.

        Returns:
            The version with the tag.

        Raises:
            RegistryError: The version is not registered.
        """

    def promote(self, version: int) -> ModelVersion:
        """Make a version the live one.

        Args:
            version: Number of the version.

        Returns:
            The version with the time of its promotion.

        Raises:
            RegistryError: The version is not registered.
            ContractError: The format of the version's bundle is no longer served.
        """

    def roll_back(self, reason: str, to: int | None = None) -> ModelVersion:
        """Make an earlier version live again, and tag the version that was live.

        Args:
            reason: Reason, which the tag records.
            to: Number of the version; None for the one that was promoted before the live one.

        Returns:
            The version that is live now.

        Raises:
            RegistryError: There is no such version.
            ContractError: The format of the version's bundle is no longer served.
        """

    def remove(self, version: int) -> None:
        """Delete the files of a version and its record.

        Args:
            version: Number of the version.

        Raises:
            RegistryError: The version is not registered, or it is live.
        """

    def replace(self, version: int, by: int) -> ModelVersion:
        """Replace a version by another, which takes over its tags and its promotion, and remove it.

        Args:
            version: Number of the version that is removed.
            by: Number of the registered version that replaces it; it becomes live where `version` was.

        Returns:
            The version `by`.

        Raises:
            RegistryError: One of the versions is not registered.
        """


def check_removable(version: int, live: ModelVersion | None, place: str) -> None:
    """Raise RegistryError, which names the registry `place`, for the live version."""
    if live is not None and live.version == version:
        raise RegistryError(f"{place}: version {version} is live and cannot be removed; make another one live first")


def version_before(versions: Sequence[ModelVersion], live: ModelVersion | None, place: str, to: int | None) -> int:
    """Choose the version to roll back to.

    Args:
        versions: All versions.
        live: The live version; None where there is none.
        place: Folder or address of the registry, for errors.
        to: Number of the wanted version; None for the one that was promoted last before the live one.

    Returns:
        Number of the version.

    Raises:
        RegistryError: There is no such version, or it is live already.
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
