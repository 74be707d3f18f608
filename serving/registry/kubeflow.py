"""Kubeflow Model Registry as the registry, through its own client.

A registered model is a scenario; its custom property `live_version` names the live version. A model version is called
by its number, and all that is known of it are its custom properties; its artifact is the bundle. The files themselves
lie in a folder, as with the registry in a folder (`polytask.registry.files`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.registry.files import VersionFiles
from polytask.registry.version import ROLLED_BACK, ModelVersion, RegistryError, now, version_before
from serving.registry.custom_properties import properties_of, version_of
from serving.registry.registry_client import RegistryClient, created, require_api

if TYPE_CHECKING:
    from model_registry.core import ModelRegistryAPIClient
    from model_registry.types import ModelVersion as Registered
    from model_registry.types import RegisteredModel

LIVE = "live_version"
OWNER = "polytask"
PAGE = 100
SECONDS = 30.0


class KubeflowRegistry:
    """The versions of the registered model `name` on the server at `url`; their files lie in `folder`.

    Every operation has a deadline of `seconds`. Where two clients tag one version at once, the last one counts. Raises
    RegistryError, which names the address, when the server is away, refuses, or is too slow.
    """

    def __init__(
        self, url: str, name: str, folder: Path, token: str | None = None, *, seconds: float = SECONDS
    ) -> None:
        self._name = name
        self._files = VersionFiles(folder)
        self._client = RegistryClient(url, token, seconds)

    def __str__(self) -> str:
        return f"{self._client.url}, model {self._name}"

    def register(self, bundle: Path, checkpoint: Path | None, lineage: dict[str, str]) -> ModelVersion:
        """Note a bundle that `serving.publish` put into the folder, and copy its checkpoint beside it."""
        contract = self._files.take(bundle, checkpoint)
        made = ModelVersion(
            version=contract.model_version,
            scenario=contract.scenario.name,
            bundle=str(bundle.resolve()),
            contract_sha256=contract.checksum,
            metrics=contract.metrics,
            lineage=lineage,
            created=now(),
        )

        async def run(calls: "ModelRegistryAPIClient") -> ModelVersion:
            model = await self._model(calls) or await self._create_model(calls)
            known = await _registered(calls, model, made.version) or await _create_version(calls, model, made)
            before = _version(known)
            kept = {"tags": before.tags, "created": before.created, "promoted": before.promoted}
            merged = made.model_copy(update=kept)
            await _save(calls, known, merged)
            await self._attach(calls, known, merged)
            return self._placed(merged)

        return self._client.run(run)

    def versions(self) -> list[ModelVersion]:
        """All versions that were registered, the oldest first."""

        async def run(calls: "ModelRegistryAPIClient") -> list[ModelVersion]:
            model = await self._model(calls)
            return [] if model is None else [self._placed(version) for version in await _all(calls, model)]

        return self._client.run(run)

    def live(self) -> ModelVersion | None:
        """The version that the registered model's property `live_version` names."""

        async def run(calls: "ModelRegistryAPIClient") -> ModelVersion | None:
            model = await self._model(calls)
            number = None if model is None else (model.custom_properties or {}).get(LIVE)
            if model is None or number is None:
                return None
            return self._placed(_version(await self._known(calls, model, int(number))))

        return self._client.run(run)

    def tag(self, version: int, name: str, value: str) -> ModelVersion:
        """Note something about a version."""

        async def run(calls: "ModelRegistryAPIClient") -> ModelVersion:
            model = await self._required(calls)
            return await self._change(calls, model, version, lambda known: {"tags": {**known.tags, name: value}})

        return self._client.run(run)

    def promote(self, version: int) -> ModelVersion:
        """Make a version the live one, and point `current` at it where its files are here."""
        self._files.check_servable(version)

        async def run(calls: "ModelRegistryAPIClient") -> ModelVersion:
            model = await self._required(calls)
            promoted = await self._change(calls, model, version, lambda _: {"promoted": now()})
            await self._point(calls, model, version)
            return promoted

        return self._client.run(run)

    def roll_back(self, reason: str, to: int | None = None) -> ModelVersion:
        """Make an earlier version live; when it was promoted stays as it is, so that the next goes further."""
        live = self.live()
        number = version_before(self.versions(), live, str(self), to)
        self._files.check_servable(number)
        assert live is not None, "version_before refuses a registry without a live version"

        async def run(calls: "ModelRegistryAPIClient") -> ModelVersion:
            model = await self._required(calls)
            target = self._placed(_version(await self._known(calls, model, number)))
            await self._point(calls, model, number)
            note = f"{now()} to {number}: {reason}"
            await self._change(calls, model, live.version, lambda known: {"tags": {**known.tags, ROLLED_BACK: note}})
            return target

        return self._client.run(run)

    async def _model(self, calls: "ModelRegistryAPIClient") -> "RegisteredModel | None":
        found = await calls.get_registered_model_by_params(self._name)
        if found is None:
            await require_api(calls, self._client.url)
        return found

    async def _required(self, calls: "ModelRegistryAPIClient") -> "RegisteredModel":
        model = await self._model(calls)
        if model is None:
            raise RegistryError(f"{self._client.url}: there is no registered model {self._name!r}")
        return model

    async def _create_model(self, calls: "ModelRegistryAPIClient") -> "RegisteredModel":
        from model_registry.types import RegisteredModel

        wanted = RegisteredModel(name=self._name, owner=OWNER)
        return await created(lambda: calls.upsert_registered_model(wanted), lambda: self._model(calls))

    async def _attach(self, calls: "ModelRegistryAPIClient", registered: "Registered", version: ModelVersion) -> None:
        """The bundle as the version's artifact, once: registered again from elsewhere, it has moved."""
        from model_registry.types import ModelArtifact

        assert registered.id is not None, "the server gives every version an id"
        number = registered.id
        artifact = ModelArtifact(name=self._name, uri=version.bundle, model_format_name="triton")

        async def find() -> "ModelArtifact | None":
            found = await calls.get_model_artifacts(number)
            return next((other for other in found if other.name == self._name), None)

        known = await find() or await created(lambda: calls.upsert_model_version_artifact(artifact, number), find)
        if known.uri != version.bundle:
            artifact.id = known.id
            await calls.upsert_model_artifact(artifact)

    async def _known(self, calls: "ModelRegistryAPIClient", model: "RegisteredModel", number: int) -> "Registered":
        registered = await _registered(calls, model, number)
        if registered is None:
            known = ", ".join(str(version.version) for version in await _all(calls, model)) or "none"
            raise RegistryError(f"{self}: version {number} is not there; there are {known}")
        return registered

    async def _change(
        self,
        calls: "ModelRegistryAPIClient",
        model: "RegisteredModel",
        number: int,
        change: Callable[[ModelVersion], dict[str, Any]],
    ) -> ModelVersion:
        registered = await self._known(calls, model, number)
        version = _version(registered)
        changed = version.model_copy(update=change(version))
        await _save(calls, registered, changed)
        return self._placed(changed)

    async def _point(self, calls: "ModelRegistryAPIClient", model: "RegisteredModel", number: int) -> None:
        model.custom_properties = {**(model.custom_properties or {}), LIVE: str(number)}
        await calls.upsert_registered_model(model)
        if self._files.holds(number):
            self._files.point(number)

    def _placed(self, version: ModelVersion) -> ModelVersion:
        """With the folders of this machine where they are there, else with the address that was registered."""
        if not self._files.holds(version.version):
            return version
        checkpoint = self._files.checkpoint(version.version)
        bundle = self._files.bundle(version.version)
        return version.model_copy(
            update={"bundle": str(bundle.resolve()), "checkpoint": checkpoint and str(checkpoint.resolve())}
        )


async def _registered(calls: "ModelRegistryAPIClient", model: "RegisteredModel", number: int) -> "Registered | None":
    assert model.id is not None, "the server gives every model an id"
    return await calls.get_model_version_by_params(model.id, str(number))


async def _create_version(
    calls: "ModelRegistryAPIClient", model: "RegisteredModel", made: ModelVersion
) -> "Registered":
    from model_registry.types import ModelVersion as Registered

    wanted = Registered(name=str(made.version), author=OWNER, custom_properties=properties_of(made))
    return await created(
        lambda: calls.upsert_model_version(wanted, model.id), lambda: _registered(calls, model, made.version)
    )


async def _all(calls: "ModelRegistryAPIClient", model: "RegisteredModel") -> list[ModelVersion]:
    from model_registry.types import ListOptions

    assert model.id is not None, "the server gives every model an id"
    options = ListOptions(limit=PAGE)
    found: list[ModelVersion] = []
    while True:
        page = await calls.get_model_versions(model.id, options)
        # A version that someone else called by a name is none of ours.
        found += [_version(entry) for entry in page if entry.name.isdigit()]
        if not page or not options.next_page_token:
            return sorted(found, key=lambda version: (version.created, version.version))


async def _save(calls: "ModelRegistryAPIClient", registered: "Registered", version: ModelVersion) -> None:
    # All of them: servers differ in whether a property that is left out stays.
    registered.custom_properties = {**(registered.custom_properties or {}), **properties_of(version)}
    await calls.upsert_model_version(registered)


def _version(registered: "Registered") -> ModelVersion:
    return version_of(registered.name, registered.custom_properties or {})
