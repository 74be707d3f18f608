"""The registry in a folder: beside the published versions a record of each, and `current`, which is the live one.

<folder>/<version>/                the bundle, written by `serving.publish`
<folder>/current                   a link to the live version
<folder>/records/<version>.json    what is known of it
<folder>/checkpoints/<version>/    the model it was exported from
"""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from polytask.atomic import atomic_folder, write_text
from polytask.contract import CONTRACT_FILE, load_contract
from polytask.registry.version import ModelVersion, RegistryError

CURRENT = "current"
RECORDS = "records"
CHECKPOINTS = "checkpoints"
ROLLED_BACK = "rolled_back"


class FolderRegistry:
    """The versions below `folder`, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def register(self, bundle: Path, checkpoint: Path | None, lineage: dict[str, str]) -> ModelVersion:
        """Note a bundle that `serving.publish` put into the folder, and copy its checkpoint beside it."""
        contract = load_contract(bundle, verify_files=False)
        number = contract.model_version
        if bundle.resolve() != (self.folder / str(number)).resolve():
            raise RegistryError(f"{bundle}: is to be registered; allowed: the published {self.folder / str(number)}")
        known = self._record(number)
        if checkpoint is not None:
            with atomic_folder(self._checkpoint(number)) as temporary:
                shutil.copytree(checkpoint, temporary, dirs_exist_ok=True)
        record = ModelVersion(
            version=number,
            scenario=contract.scenario.name,
            bundle=str(number),
            checkpoint=f"{CHECKPOINTS}/{number}" if self._checkpoint(number).is_dir() else None,
            contract_sha256=contract.checksum,
            metrics=contract.metrics,
            lineage=lineage,
            tags={} if known is None else known.tags,
            created=_now() if known is None else known.created,
            promoted=None if known is None else known.promoted,
        )
        return self._placed(self._write(record))

    def versions(self) -> list[ModelVersion]:
        """All versions whose bundle is there, the oldest first; those without a record before the others."""
        found = [path for path in self.folder.glob("*") if path.name.isdigit() and (path / CONTRACT_FILE).is_file()]
        versions = [self._version(int(path.name)) for path in found]
        return sorted(versions, key=lambda version: (version.created, version.version))

    def live(self) -> ModelVersion | None:
        """The version that `current` points at."""
        link = self.folder / CURRENT
        if not link.is_symlink():
            return None
        return self._version(int(link.readlink().name))

    def tag(self, version: int, name: str, value: str) -> ModelVersion:
        """Note something about a version."""
        known = self._relative(self._version(version))
        return self._placed(self._write(known.model_copy(update={"tags": {**known.tags, name: value}})))

    def promote(self, version: int) -> ModelVersion:
        """Point `current` at a version; it counts as the newest."""
        known = self._relative(self._version(version))
        # The record first: a link that cannot be followed by a record would be a live version of unknown age.
        record = self._write(known.model_copy(update={"promoted": _now()}))
        point(self.folder / CURRENT, str(version))
        return self._placed(record)

    def roll_back(self, reason: str, to: int | None = None) -> ModelVersion:
        """Point `current` at an earlier version; when it was promoted stays as it is, so that the next goes further."""
        live = self.live()
        if live is None:
            raise RegistryError(f"{self.folder}: no version is live; there is nothing to roll back from")
        if to is None:
            earlier = [v for v in self.versions() if v.promoted and v.version != live.version]
            earlier = [v for v in earlier if live.promoted is None or (v.promoted or "") < live.promoted]
            if not earlier:
                raise RegistryError(f"{self.folder}: no version was live before {live.version}")
            to = max(earlier, key=lambda v: v.promoted or "").version
        target = self._version(to)
        if target.version == live.version:
            raise RegistryError(f"{self.folder}: version {to} is live already")
        point(self.folder / CURRENT, str(target.version))
        self.tag(live.version, ROLLED_BACK, f"{_now()} to {target.version}: {reason}")
        return target

    def _version(self, number: int) -> ModelVersion:
        bundle = self.folder / str(number)
        if not (bundle / CONTRACT_FILE).is_file():
            known = ", ".join(sorted(p.name for p in self.folder.glob("*") if p.name.isdigit())) or "none"
            raise RegistryError(f"{self.folder}: version {number} is not there; there are {known}")
        record = self._record(number)
        if record is None:
            contract = load_contract(bundle, verify_files=False)
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
        write_text(self._record_file(record.version), record.model_dump_json(indent=2) + "\n")
        return record

    def _record_file(self, number: int) -> Path:
        return self.folder / RECORDS / f"{number}.json"

    def _checkpoint(self, number: int) -> Path:
        return self.folder / CHECKPOINTS / str(number)

    def _placed(self, record: ModelVersion) -> ModelVersion:
        """The record with its folders as absolute paths: on disk they are relative, so that the folder can move."""
        kept = record.checkpoint and self.folder / record.checkpoint
        checkpoint = str(kept.resolve()) if kept and kept.is_dir() else None
        bundle = str((self.folder / record.bundle).resolve())
        return record.model_copy(update={"bundle": bundle, "checkpoint": checkpoint})

    def _relative(self, record: ModelVersion) -> ModelVersion:
        checkpoint = f"{CHECKPOINTS}/{record.version}" if record.checkpoint else None
        return record.model_copy(update={"bundle": str(record.version), "checkpoint": checkpoint})


def point(link: Path, name: str) -> None:
    """Replace a symbolic link in one step, so that a reader finds the old version or the new one."""
    if link.is_symlink() and link.readlink() == Path(name):
        return
    temporary = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(name)
    temporary.replace(link)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
