"""Brings a published bundle into object storage, from which KServe's storage initializer copies it into the pods."""

import json
from pathlib import Path
from typing import Any

from polytask.contract.contract import CONTRACT_FILE
from polytask.storage.object_storage import SCHEMES, DamagedError, bring, file_system, read
from serving.rollout.errors import RolloutError


def uploads(storage_uri: str) -> bool:
    """Whether a storage is one that is written to over the network, and no volume or server of files."""
    return storage_uri.startswith(SCHEMES)


def upload(bundle: Path, storage_uri: str, version: str) -> int:
    """Make `<storage_uri>/<version>` hold the bundle of this model version; returns how many files had to be written.

    Every file is read back and compared by its SHA-256; one that is there already, byte for byte, is left alone. The
    contract goes last: a folder that has it is whole. Credentials, region and another endpoint come from the usual
    variables (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, ...). Raises RolloutError where the storage refuses or
    is unavailable, holds other models under this version, or gives back something else than was written.
    """
    place = f"{storage_uri.rstrip('/')}/{version}"
    try:
        files, root = file_system(storage_uri)
        root = f"{root}/{version}"
        _check_version(files, root, bundle, place)
        names = sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())
        names.sort(key=lambda name: name == CONTRACT_FILE)
        return sum(bring(files, f"{root}/{name}", bundle / name) for name in names)
    except DamagedError as error:
        raise RolloutError(str(error)) from error
    except OSError as error:
        reason = " ".join(str(error).split())
        raise RolloutError(
            f"{place}: {reason}; give credentials that may read and write there, or copy it and use --no-upload"
        ) from error


def _check_version(files: Any, root: str, bundle: Path, place: str) -> None:
    """A version number is never used for other weights."""
    there = read(files, f"{root}/{CONTRACT_FILE}")
    if there is None:
        return
    try:
        models = json.loads(there)["models"]
    except (ValueError, KeyError, TypeError) as error:
        raise RolloutError(
            f"{place}/{CONTRACT_FILE}: is no contract; clear the folder, or name another storage"
        ) from error
    ours = json.loads((bundle / CONTRACT_FILE).read_text(encoding="utf-8"))["models"]
    if models != ours:
        raise RolloutError(f"{place}: holds other models under this version; name another storage")
