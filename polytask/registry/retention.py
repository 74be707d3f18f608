"""How many versions of a model are kept, and for how long. The live one and the one to roll back to always are."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from polytask.registry.version import ModelRegistry, ModelVersion, RegistryError, version_before


@dataclass(frozen=True)
class Pruned:
    """A version that a rule removes, and which rule that is."""

    version: ModelVersion
    reason: str


def prunable(
    versions: Sequence[ModelVersion],
    live: ModelVersion | None,
    place: str,
    *,
    keep: int | None = None,
    max_age_days: float | None = None,
    served: Collection[int] = (),
    at: datetime | None = None,
) -> list[Pruned]:
    """List the versions that exceed one of two limits.

    A version is as old as its last promotion, or its registration before the first. One of unknown age, from before
    there were records, counts as the oldest and is removed by count alone. The live version and the one before it
    stay; without a live version all stay, since it is not known which one is used.

    Args:
        versions: All versions.
        live: The live version; None where there is none.
        place: Folder or address of the registry, for errors.
        keep: Number of the newest versions to keep; None for no limit.
        max_age_days: Maximum age in days; None for no limit.
        served: Numbers of versions that are in service, whatever the registry lists; they are kept.
        at: The present time, with a time zone; None for now.

    Returns:
        The versions that exceed a limit, the oldest first.
    """
    if live is None:
        return []
    kept = {live.version, *served}
    with suppress(RegistryError):  # no version was live before: there is nothing to roll back to
        kept.add(version_before(versions, live, place, None))
    newest_first = sorted(versions, key=lambda version: (_last_use(version), version.version), reverse=True)
    end = (at or datetime.now(UTC)) - timedelta(days=max_age_days) if max_age_days is not None else None
    found = []
    for position, version in enumerate(newest_first):
        if version.version in kept:
            continue
        used = _last_use(version)
        if keep is not None and position >= keep:
            found.append(Pruned(version, f"beyond the newest {keep}"))
        elif end is not None and used and datetime.fromisoformat(used) < end:
            found.append(Pruned(version, f"older than {max_age_days:g} days"))
    return found[::-1]


def prune(
    registry: ModelRegistry,
    *,
    keep: int | None = None,
    max_age_days: float | None = None,
    served: Collection[int] = (),
    dry_run: bool = False,
    on_removed: Callable[[Pruned], None] = lambda _: None,
) -> list[Pruned]:
    """Remove the versions that `prunable` lists, one after the other.

    A run that is stopped halfway leaves whole versions, and the next one continues.

    Args:
        registry: The registry.
        keep: Number of the newest versions to keep; None for no limit.
        max_age_days: Maximum age in days; None for no limit.
        served: Numbers of versions that stay because they are in service.
        dry_run: Whether to list the versions only.
        on_removed: Called with each version after its removal.

    Returns:
        The removed versions, the oldest first.

    Raises:
        RegistryError: The registry cannot remove a version.
    """
    versions, live = registry.versions(), registry.live()
    found = prunable(versions, live, str(registry), keep=keep, max_age_days=max_age_days, served=served)
    for pruned in found:
        if not dry_run:
            registry.remove(pruned.version.version)
        on_removed(pruned)
    return found


def _last_use(version: ModelVersion) -> str:
    return max(version.created, version.promoted or "")
