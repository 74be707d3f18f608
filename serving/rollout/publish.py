"""Publish bundles to a folder: one sub-folder per model version, and `current`, which is what gets served."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from polytask.contract.contract import REPOSITORY_FOLDER, load_contract
from polytask.errors import ContractError
from polytask.registry.version import ModelVersion
from polytask.storage.atomic import atomic_folder
from serving.registry.address import open_registry
from serving.triton.checksums import SUMS_FILE, check_sums


def publish(
    bundle: Path,
    target: Path,
    checkpoint: Path | None = None,
    lineage: Mapping[str, str] | None = None,
    *,
    registry: str = "",
    live: bool = True,
) -> Path:
    """Copy a verified bundle to `target/<model version>`, register it, make it the live one, and return its folder.

    `checkpoint` is the folder of the exported model, which the next candidate is compared with; `lineage` records its
    sources; `registry` is the setting of `open_registry`. Without `live` it is registered only. Publishing the same
    bundle again changes nothing but the time of its promotion. Raises ContractError when a file of the bundle does not
    match its contract or the checksums of its model repository, or the version exists with other models: a
    version number is never used for other weights.
    """
    contract = load_contract(bundle)
    check_sums(bundle / REPOSITORY_FOLDER)
    folder = target / str(contract.model_version)
    published = load_contract(folder) if folder.is_dir() else None
    if published is not None and published.models != contract.models:
        raise ContractError(
            f"{folder}: version {contract.model_version} exists with models {published.models}, "
            f"the bundle has {contract.models}"
        )
    same = published is not None and published.checksum == contract.checksum and _sums(folder) == _sums(bundle)
    if not same:
        with atomic_folder(folder) as temporary:
            shutil.copytree(bundle, temporary, dirs_exist_ok=True)
    open_registry(registry, target, contract.scenario.name).register(folder, checkpoint, dict(lineage or {}))
    if live:
        promote(folder, registry)
    return folder


def promote(published: Path, registry: str = "") -> ModelVersion:
    """Make a published bundle the live version of its registry."""
    contract = load_contract(published, verify_files=False)
    return open_registry(registry, published.parent, contract.scenario.name).promote(contract.model_version)


def _sums(bundle: Path) -> str | None:
    """The bundle's list of checksums, which differs for a repository with another configuration."""
    path = bundle / REPOSITORY_FOLDER / SUMS_FILE
    return path.read_text(encoding="utf-8") if path.is_file() else None
