"""Kubeflow Model Registry as the registry, through its own client.

A registered model is a scenario; its custom property `live_version` names the live version. A model version is called
by its number, and all that is known of it are its custom properties; its artifact is the bundle. The files themselves
are stored in a folder, as with the registry in a folder (`polytask.registry.files`).
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polytask.registry.files import VersionFiles
from polytask.registry.version import (
    REPLACES,
    ROLLED_BACK,
    ModelVersion,
    RegistryError,
    check_removable,
    now,
    version_before,
)
from serving.registry.registered_versions import (
    OWNER,
    all_versions,
    archive,
    create_version,
    find_version,
    is_archived,
    listed,
    save,
    version_from,
)
from serving.registry.registry_client import RegistryClient, created, require_api

if TYPE_CHECKING:
    from model_registry.core import ModelRegistryAPIClient
    from model_registry.types import ModelVersion as Registered
    from model_registry.types import RegisteredModel

LIVE = "live_version"
SECONDS = 30.0


class KubeflowRegistry:
    """The versions of the registered model `name` on the server at `url`; their files are stored in `folder`.

    Every operation has a deadline of `seconds`. Where two clients tag one version at once, the last one counts. Raises
    RegistryError, which names the address, when the server is unavailable, refuses, or is too slow.
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
        """Note a bundle that `serving.rollout.publish` put into the folder, and copy its checkpoint next to it."""
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
            known = await find_version(calls, model, made.version) or await create_version(calls, model, made)
            before = version_from(known)
            kept = {"tags": before.tags, "created": before.created, "promoted": before.promoted}
            merged = made.model_copy(update=kept)
            await save(calls, listed(known), merged)
            await self._attach(calls, known, merged)
            return self._placed(merged)

        return self._client.run(run)

    def versions(self) -> list[ModelVersion]:
        """All versions that were registered, the oldest first."""

        async def run(calls: "ModelRegistryAPIClient") -> list[ModelVersion]:
            model = await self._model(calls)
            return [] if model is None else [self._placed(version) for version in await all_versions(calls, model)]

        return self._client.run(run)

    def live(self) -> ModelVersion | None:
        """The version that the registered model's property `live_version` names."""

        async def run(calls: "ModelRegistryAPIClient") -> ModelVersion | None:
            model = await self._model(calls)
            number = None if model is None else (model.custom_properties or {}).get(LIVE)
            if model is None or number is None:
                return None
            return self._placed(version_from(await self._known(calls, model, int(number))))

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
            target = self._placed(version_from(await self._known(calls, model, number)))
            await self._point(calls, model, number)
            note = f"{now()} to {number}: {reason}"
            await self._change(calls, model, live.version, lambda known: {"tags": {**known.tags, ROLLED_BACK: note}})
            return target

        return self._client.run(run)

    def remove(self, version: int) -> None:
        """Archive a version that is not live and delete its files where they are in the folder."""
        check_removable(version, self.live(), str(self))

        async def run(calls: "ModelRegistryAPIClient") -> None:
            await archive(calls, await self._known(calls, await self._required(calls), version))

        # The files first: an archived version is not listed, and could not be removed again.
        self._client.run(self._known_version(version))
        self._files.remove(version)
        self._client.run(run)

    def replace(self, version: int, by: int) -> ModelVersion:
        """Let `by` take the place of `version`, which is archived; its files are deleted."""
        live = self.live()
        old = self._client.run(self._known_version(version))
        self._files.check_servable(by)

        async def run(calls: "ModelRegistryAPIClient") -> ModelVersion:
            model = await self._required(calls)

            def taken_over(new: ModelVersion) -> dict[str, Any]:
                return {"promoted": old.promoted, "tags": {**old.tags, **new.tags, REPLACES: str(version)}}

            replaced = await self._change(calls, model, by, taken_over)
            if live is not None and live.version == version:
                await self._point(calls, model, by)
            return replaced

        record = self._client.run(run)
        self.remove(version)
        return record

    def _known_version(self, number: int) -> "Callable[[ModelRegistryAPIClient], Awaitable[ModelVersion]]":
        async def run(calls: "ModelRegistryAPIClient") -> ModelVersion:
            return version_from(await self._known(calls, await self._required(calls), number))

        return run

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

        known: ModelArtifact = await find() or await created(
            lambda: calls.upsert_model_version_artifact(artifact, number), find
        )
        if known.uri != version.bundle:
            artifact.id = known.id
            await calls.upsert_model_artifact(artifact)

    async def _known(self, calls: "ModelRegistryAPIClient", model: "RegisteredModel", number: int) -> "Registered":
        registered = await find_version(calls, model, number)
        if registered is None or is_archived(registered):
            known = ", ".join(str(version.version) for version in await all_versions(calls, model)) or "none"
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
        version = version_from(registered)
        changed = version.model_copy(update=change(version))
        await save(calls, registered, changed)
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
