"""Names of temporary files and folders that no other process uses, and the removal of those whose writer is dead.

`.<target>.<machine>-<pid>-<random>.tmp`: the machine is a checksum of host name, boot and PID namespace, so that two
pods with the same process number, or one host before and after a reboot, never take each other's files for their own.
"""

import os
import re
import secrets
import shutil
import socket
import time
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path

# Whether a process of another machine is alive cannot be found out here: its files are removed when nothing below them
# was written for so long.
ABANDONED_SECONDS = 24 * 3600.0
TEMPORARY, OLD = ".tmp", ".old"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")
_NAME = re.compile(r"\.(?P<target>.+)\.[0-9a-f]{8}-\d+-[0-9a-f]{8}\.(tmp|old)")


@cache
def machine() -> str:
    """Eight hexadecimal digits for the set of processes that this one can see."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(BOOT_ID.read_text(encoding="ascii").strip())
    with suppress(OSError):
        parts.append(str(PID_NAMESPACE.stat().st_ino))
    return sha256("|".join(parts).encode()).hexdigest()[:8]


def temporary_path(target: Path) -> Path:
    """A path in the folder of `target`, which is not created, for what is renamed to `target` later."""
    return target.with_name(f".{target.name}.{machine()}-{os.getpid()}-{secrets.token_hex(4)}{TEMPORARY}")


def aside_path(temporary: Path) -> Path:
    """Where the old content of a target waits while `temporary` is renamed to it (see `polytask.storage.swap`)."""
    return temporary.with_suffix(OLD)


def remove_abandoned(target: Path) -> None:
    """Remove what dead writers of `target` left in its folder; files of live writers stay.

    Where a writer died after it had moved the old content aside, the old content is restored.
    """
    for path in _temporary_paths(target):
        if not _is_abandoned(path):
            continue
        if path.suffix == OLD and not os.path.lexists(target):
            with suppress(OSError):  # another writer is faster
                path.rename(target)
        remove(path)


def remove_all_abandoned(folder: Path) -> None:
    """The same for all targets in a folder: what dead writers left there, of files that may never be written again."""
    found = [match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    for target in sorted({match["target"] for match in found}):
        remove_abandoned(folder / target)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, as far as that is possible."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()


def _temporary_paths(target: Path) -> list[Path]:
    with suppress(FileNotFoundError), os.scandir(target.parent) as entries:
        found = [(entry.name, _NAME.fullmatch(entry.name)) for entry in entries]
        return [target.parent / name for name, match in found if match and match["target"] == target.name]
    return []


def _is_abandoned(path: Path) -> bool:
    owner, pid, _ = path.stem.rpartition(".")[2].split("-")
    if owner == machine():
        return not _is_alive(int(pid))
    return time.time() - _last_written(path) > ABANDONED_SECONDS


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        return True
    return True


def _last_written(path: Path) -> float:
    """The newest modification time of a path and of all below it; now, where it is being removed meanwhile."""
    try:
        times = [path.lstat().st_mtime]
        for folder, _, files in os.walk(path):
            times += [Path(folder, name).lstat().st_mtime for name in ("", *files)]
    except OSError:
        return time.time()
    return max(times)
