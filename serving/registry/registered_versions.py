"""Calls to Kubeflow Model Registry about the versions of a registered model: find, create, list, save, archive."""

from typing import TYPE_CHECKING

from polytask.registry.version import ModelVersion
from serving.registry.custom_properties import properties_of, version_of
from serving.registry.registry_client import created

if TYPE_CHECKING:
    from model_registry.core import ModelRegistryAPIClient
    from model_registry.types import ModelVersion as Registered
    from model_registry.types import RegisteredModel

OWNER = "polytask"
PAGE = 100


async def find_version(calls: "ModelRegistryAPIClient", model: "RegisteredModel", number: int) -> "Registered | None":
    """The version called `number`, an archived one too; None where there is none."""
    assert model.id is not None, "the server gives every model an id"
    return await calls.get_model_version_by_params(model.id, str(number))


async def create_version(calls: "ModelRegistryAPIClient", model: "RegisteredModel", made: ModelVersion) -> "Registered":
    """Create a version, or return what somebody else created just before."""
    from model_registry.types import ModelVersion as Registered

    wanted = Registered(name=str(made.version), author=OWNER, custom_properties=properties_of(made))
    return await created(
        lambda: calls.upsert_model_version(wanted, model.id), lambda: find_version(calls, model, made.version)
    )


async def all_versions(calls: "ModelRegistryAPIClient", model: "RegisteredModel") -> list[ModelVersion]:
    """All versions that are not archived, the oldest first."""
    from model_registry.types import ListOptions

    assert model.id is not None, "the server gives every model an id"
    options = ListOptions(limit=PAGE)
    found: list[ModelVersion] = []
    while True:
        page = await calls.get_model_versions(model.id, options)
        # A version that someone else called by a name is none of ours.
        found += [version_from(entry) for entry in page if entry.name.isdigit() and not is_archived(entry)]
        if not page or not options.next_page_token:
            return sorted(found, key=lambda version: (version.created, version.version))


async def archive(calls: "ModelRegistryAPIClient", registered: "Registered") -> None:
    """Archive a version, which the server has instead of a deletion: it stays readable there and is not listed here."""
    from model_registry.types.contexts import ModelVersionState

    registered.state = ModelVersionState.ARCHIVED
    await calls.upsert_model_version(registered)


def is_archived(registered: "Registered") -> bool:
    """Whether a version was removed with `archive`."""
    from model_registry.types.contexts import ModelVersionState

    return bool(registered.state == ModelVersionState.ARCHIVED)


def listed(registered: "Registered") -> "Registered":
    """The version in the state of those that are listed, for one that is registered again after it was archived."""
    from model_registry.types.contexts import ModelVersionState

    registered.state = ModelVersionState.LIVE
    return registered


async def save(calls: "ModelRegistryAPIClient", registered: "Registered", version: ModelVersion) -> None:
    """Write all properties of a version; a property that others have set stays."""
    # All of them: servers differ in whether a property that is left out stays.
    registered.custom_properties = {**(registered.custom_properties or {}), **properties_of(version)}
    await calls.upsert_model_version(registered)


def version_from(registered: "Registered") -> ModelVersion:
    """The version as every registry describes it."""
    return version_of(registered.name, registered.custom_properties or {})
