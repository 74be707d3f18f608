"""Updates a registry after a manual rollout: the live version, by promotion or by rollback."""

from polytask.registry.version import ModelRegistry, RegistryError

REASON = "polytask rollout"


def check_registered(registry: ModelRegistry, version: int) -> None:
    """Raise RegistryError where a registry does not know the version that is about to be rolled out."""
    known = [found.version for found in registry.versions()]
    if version not in known:
        raise RegistryError(
            f"{registry}: version {version} is not registered; allowed: {', '.join(map(str, known)) or 'none yet'}, "
            "or no --registry"
        )


def notify_registry(registry: ModelRegistry, version: int) -> str:
    """Make the version that was rolled out the live one, and return a line that describes the change.

    A version that was promoted before the live one is rolled back to: when it was promoted stays as it is, and the one
    that is left is tagged.
    """
    live = registry.live()
    if live is not None and live.version == version:
        return f"registry {registry}: version {version} is live already"
    promoted = next((found.promoted for found in registry.versions() if found.version == version), None)
    if live is not None and promoted is not None and promoted < (live.promoted or ""):
        registry.roll_back(REASON, version)
        return f"registry {registry}: version {version} is live again, rolled back from {live.version}"
    registry.promote(version)
    return f"registry {registry}: version {version} is live"
