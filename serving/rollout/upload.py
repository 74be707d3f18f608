"""Brings a published bundle into object storage, from which KServe's storage initializer copies it into the pods."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from polytask.atomic import sha256_file
from polytask.contract import CONTRACT_FILE
from serving.rollout.errors import RolloutError

S3, GCS = "s3://", "gs://"
SCHEMES = (S3, GCS)
CONNECT_SECONDS, REQUEST_SECONDS = 5.0, 60.0
CHUNK = 1 << 20


def uploads(storage: str) -> bool:
    """Whether a storage is one that is written to over the network, and no volume or server of files."""
    return storage.startswith(SCHEMES)


def upload(bundle: Path, storage: str, version: str) -> int:
    """Make `<storage>/<version>` hold the bundle of this model version; returns how many files had to be written.

    Every file is read back and compared by its SHA-256; one that is there already, byte for byte, is left alone. The
    contract goes last: a folder that has it is whole. Credentials, region and another endpoint come from the usual
    variables (AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, ...). Raises RolloutError where the storage refuses or
    does not answer, holds other models under this version, or gives back something else than was written.
    """
    place = f"{storage.rstrip('/')}/{version}"
    try:
        files, root = _file_system(storage)
        root = f"{root}/{version}"
        _check_version(files, root, bundle, place)
        names = sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*") if path.is_file())
        names.sort(key=lambda name: name == CONTRACT_FILE)
        return sum(_bring(files, f"{root}/{name}", bundle / name) for name in names)
    except OSError as error:
        reason = " ".join(str(error).split())
        raise RolloutError(
            f"{place}: {reason}; give credentials that may read and write there, or copy it and use --no-upload"
        ) from error


def _file_system(storage: str) -> tuple[Any, str]:
    """Arrow's file system and the path in it."""
    from pyarrow import fs

    path = storage.partition("://")[2].rstrip("/")
    if storage.startswith(GCS):
        return fs.GcsFileSystem(), path
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
    options: dict[str, Any] = {}
    if endpoint.netloc:
        options = {"endpoint_override": endpoint.netloc, "scheme": endpoint.scheme}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return fs.S3FileSystem(
        region=region,
        connect_timeout=CONNECT_SECONDS,
        request_timeout=REQUEST_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3),
        background_writes=False,
        **options,
    ), path


def _check_version(files: Any, root: str, bundle: Path, place: str) -> None:
    """A version number is never used for other weights."""
    there = _read(files, f"{root}/{CONTRACT_FILE}")
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


def _bring(files: Any, path: str, source: Path) -> bool:
    """Write a file where it is missing or differs; whether it was written."""
    wanted = sha256_file(source)
    if _sha256(files, path) == wanted:
        return False
    with source.open("rb") as content, files.open_output_stream(path) as target:
        while chunk := content.read(CHUNK):
            target.write(chunk)
    found = _sha256(files, path)
    if found != wanted:
        raise RolloutError(f"{path}: reads back with SHA-256 {found}, written was {wanted}")
    return True


def _sha256(files: Any, path: str) -> str | None:
    """The checksum of what the storage gives back, None where there is nothing."""
    if not files.get_file_info(path).is_file:
        return None
    digest = hashlib.sha256()
    with files.open_input_stream(path) as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _read(files: Any, path: str) -> bytes | None:
    if not files.get_file_info(path).is_file:
        return None
    with files.open_input_stream(path) as content:
        return bytes(content.read())
