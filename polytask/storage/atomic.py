"""Write files so that a stopped run leaves the old file or the new one, never half of one."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polytask.errors import DiskError
from polytask.storage.swap import put_in_place
from polytask.storage.temporary_names import remove, remove_abandoned, temporary_path

# A disk without room, a user without any left, a file above the size that is allowed.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# File systems that cannot bring a folder's names to the disk, such as some of FUSE.
WITHOUT_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


@contextmanager
def _room_for(path: Path) -> Iterator[None]:
    """Turn an error for want of room into one that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DiskError(f"{path}: cannot be written: {os.strerror(error.errno)}") from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; rename it to `path` when the block ends without an error.

    The content is on the disk before the rename, so that a power failure leaves no empty file. Raises DiskError where
    there is no room for it.
    """
    with _room_for(path), _renamed_file(path) as temporary:
        yield temporary


@contextmanager
def _renamed_file(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(path)
    temporary = temporary_path(path)
    temporary.touch(mode=0o600)
    try:
        yield temporary
        temporary.chmod(0o644)  # so that another user's container can read it
        _flush(temporary)
        temporary.replace(path)
        _flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; put it in the place of `path` when the block ends without an error.

    Readers find the old folder or the new one at every moment, and so does a run after a kill (see
    `polytask.storage.swap`). The content is on the disk before. Raises DiskError where there is no room for it.
    """
    with _room_for(path), _renamed_folder(path) as temporary:
        yield temporary


@contextmanager
def _renamed_folder(path: Path) -> Iterator[Path]:
    with temporary_folder(path) as temporary:
        yield temporary
        temporary.chmod(0o755)
        for folder, _, files in os.walk(temporary):
            for name in files:
                _flush(Path(folder, name))
            _flush_folder(Path(folder))
        put_in_place(temporary, path)  # `temporary` now has the old content, which goes
        _flush_folder(path.parent)


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Yield a folder on the disk of `target`, which is removed when the block ends; after a kill by the next one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned(target)
    temporary = temporary_path(target)
    temporary.mkdir(mode=0o700)
    try:
        yield temporary
    finally:
        remove(temporary)


def replace_link(link: Path, target: str) -> None:
    """Point the symbolic link at `target` in one step: readers find the old link or the new one."""
    remove_abandoned(link)
    temporary = temporary_path(link)
    try:
        temporary.symlink_to(target)
        temporary.replace(link)
        _flush_folder(link.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file's content is on the disk."""
    if path.is_symlink():
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    """The same for the names in a folder, where the file system can do so."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in WITHOUT_FOLDER_SYNC:
            raise
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Replace the file at `path` with `text` (UTF-8)."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_folder(path: Path) -> str:
    """Hex SHA-256 over the relative names and contents of all files below `path`, in name order."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()
