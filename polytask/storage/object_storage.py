"""Files in object storage (s3://, gs://) or in a folder, through Arrow's file systems: written, read back, compared.

Credentials, region and another endpoint come from the usual variables (AWS_ACCESS_KEY_ID, AWS_REGION,
AWS_ENDPOINT_URL).
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from polytask.storage.atomic import atomic_file, sha256_file

S3, GCS = "s3://", "gs://"
SCHEMES = (S3, GCS)
CONNECT_SECONDS, REQUEST_SECONDS = 5.0, 60.0
CHUNK = 1 << 20


class DamagedError(OSError):
    """A storage gives back something else than was written to it."""


def file_system(address: str) -> tuple[Any, str]:
    """Arrow's file system of an address and the path in it; what has no scheme is a folder of this machine."""
    from pyarrow import fs

    if not address.startswith(SCHEMES):
        return fs.LocalFileSystem(), str(Path(address).resolve())
    path = address.partition("://")[2].rstrip("/")
    if address.startswith(GCS):
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


def bring(files: Any, path: str, source: Path) -> bool:
    """Write a file where it is missing or differs; whether it was written.

    Raises DamagedError where it reads back with another SHA-256, OSError where the storage refuses or does not respond.
    """
    wanted = sha256_file(source)
    if stored_sha256(files, path) == wanted:
        return False
    write(files, path, source)
    found = stored_sha256(files, path)
    if found != wanted:
        raise DamagedError(f"{path}: reads back with SHA-256 {found}, written was {wanted}")
    return True


def write(files: Any, path: str, source: Path) -> None:
    """Write a file atomically: concurrent readers find the old one or the new one, never part of one."""
    if files.type_name == "local":
        with atomic_file(Path(path)) as temporary:
            shutil.copyfile(source, temporary)
        return
    with source.open("rb") as content, files.open_output_stream(path) as target:
        shutil.copyfileobj(content, target, CHUNK)


def fetch(files: Any, path: str, target: Path) -> None:
    """Copy a file from there to `target`, which appears as a whole."""
    with atomic_file(target) as temporary, files.open_input_stream(path) as content, temporary.open("wb") as file:
        shutil.copyfileobj(content, file, CHUNK)


def stored_sha256(files: Any, path: str) -> str | None:
    """The checksum of what the storage gives back, None where there is nothing."""
    if not files.get_file_info(path).is_file:
        return None
    digest = hashlib.sha256()
    with files.open_input_stream(path) as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def read(files: Any, path: str) -> bytes | None:
    """The content of a small file, None if there is none."""
    if not files.get_file_info(path).is_file:
        return None
    with files.open_input_stream(path) as content:
        return bytes(content.read())
