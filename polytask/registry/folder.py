"""The registry in a folder: the published versions, a record of each, and `current`, which is the live one.

The files are those of `polytask.registry.files`, and <folder>/records/<version>.json is what is known of a version.
"""

from pathlib import Path

from pydantic import ValidationError

from polytask.contract.contract import load_contract
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
from polytask.storage.atomic import write_text

RECORDS = "records"


class FolderRegistry:
    """The versions below `folder`, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = VersionFiles(folder)

    def __str__(self) -> str:
        return str(self.folder)

    def register(self, bundle: Path, checkpoint: Path | None, lineage: dict[str, str]) -> ModelVersion:
        """Note a bundle that `serving.rollout.publish` put into the folder, and copy its checkpoint next to it."""
        contract = self._files.take(bundle, checkpoint)
        known = self._record(contract.model_version)
        record = ModelVersion(
            version=contract.model_version,
            scenario=contract.scenario.name,
            bundle=str(contract.model_version),
            contract_sha256=contract.checksum,
            metrics=contract.metrics,
            lineage=lineage,
            tags={} if known is None else known.tags,
            created=now() if known is None else known.created,
            promoted=None if known is None else known.promoted,
        )
        return self._write(record)

    def versions(self) -> list[ModelVersion]:
        """All versions whose bundle is there, the oldest first; those without a record before the others."""
        versions = [self._version(number) for number in self._files.numbers()]
        return sorted(versions, key=lambda version: (version.created, version.version))

    def live(self) -> ModelVersion | None:
        """The version that `current` points at."""
        number = self._files.current()
        return None if number is None else self._version(number)

    def tag(self, version: int, name: str, value: str) -> ModelVersion:
        """Note something about a version."""
        known = self._version(version)
        return self._write(known.model_copy(update={"tags": {**known.tags, name: value}}))

    def promote(self, version: int) -> ModelVersion:
        """Point `current` at a version; it counts as the newest."""
        known = self._version(version)
        self._files.check_servable(version)
        # The record first: a link that cannot be followed by a record would be a live version of unknown age.
        record = self._write(known.model_copy(update={"promoted": now()}))
        self._files.point(version)
        return record

    def roll_back(self, reason: str, to: int | None = None) -> ModelVersion:
        """Point `current` at an earlier version; when it was promoted stays as it is, so that the next goes further."""
        live = self.live()
        target = self._version(version_before(self.versions(), live, str(self), to))
        self._files.check_servable(target.version)
        assert live is not None, "version_before refuses a registry without a live version"
        self._files.point(target.version)
        self.tag(live.version, ROLLED_BACK, f"{now()} to {target.version}: {reason}")
        return target

    def remove(self, version: int) -> None:
        """Delete checkpoint, bundle and record of a version that is not live."""
        self._version(version)
        check_removable(version, self.live(), str(self))
        self._remove(version)

    def replace(self, version: int, by: int) -> ModelVersion:
        """Let `by` take the place of `version`, which is removed."""
        old, new = self._version(version), self._version(by)
        tags = {**old.tags, **new.tags, REPLACES: str(version)}
        record = self._write(new.model_copy(update={"promoted": old.promoted, "tags": tags}))
        if self._files.current() == version:
            self._files.check_servable(by)
            self._files.point(by)
        self._remove(version)
        return record

    def _remove(self, number: int) -> None:
        self._files.remove(number)
        self._record_file(number).unlink(missing_ok=True)

    def _version(self, number: int) -> ModelVersion:
        if not self._files.holds(number):
            known = ", ".join(str(other) for other in self._files.numbers()) or "none"
            raise RegistryError(f"{self.folder}: version {number} is not there; there are {known}")
        record = self._record(number)
        if record is None:
            contract = load_contract(self._files.bundle(number), verify_files=False, older=True)
            record = ModelVersion(
                version=number,
                scenario=contract.scenario.name,
                bundle=str(number),
                contract_sha256=contract.checksum,
                metrics=contract.metrics,
            )
        return self._placed(record)

    def _record(self, number: int) -> ModelVersion | None:
        path = self._record_file(number)
        if not path.is_file():
            return None
        try:
            return ModelVersion.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise RegistryError(f"{path}: {error}") from error

    def _write(self, record: ModelVersion) -> ModelVersion:
        """Write a record with paths relative to the folder, so that it can move; returns it with absolute ones."""
        number = record.version
        checkpoint = self._files.checkpoint(number)
        kept = None if checkpoint is None else checkpoint.relative_to(self.folder).as_posix()
        relative = record.model_copy(update={"bundle": str(number), "checkpoint": kept})
        write_text(self._record_file(number), relative.model_dump_json(indent=2) + "\n")
        return self._placed(relative)

    def _record_file(self, number: int) -> Path:
        return self.folder / RECORDS / f"{number}.json"

    def _placed(self, record: ModelVersion) -> ModelVersion:
        checkpoint = self._files.checkpoint(record.version) if record.checkpoint else None
        bundle = self._files.bundle(record.version)
        return record.model_copy(
            update={"bundle": str(bundle.resolve()), "checkpoint": checkpoint and str(checkpoint.resolve())}
        )
