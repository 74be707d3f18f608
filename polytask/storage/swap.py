"""Replace a folder with another in one atomic step of the file system: readers never find it missing."""

import ctypes
import errno
import os
from functools import cache
from pathlib import Path
from typing import Any

from polytask.storage.temporary_names import aside_path

AT_FDCWD = -100
RENAME_EXCHANGE = 2
# A kernel or a file system without the exchange (NFS, some FUSE).
WITHOUT_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)
OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)
ATTEMPTS = 10


def put_in_place(new: Path, path: Path) -> None:
    """Rename the folder `new` to `path`; what was at `path` is at `new` afterwards, or nothing is.

    Both are on one file system. Without the exchange of Linux (`renameat2`) what was at `path` is moved aside first:
    then a reader may find no folder for a moment. Raises OSError where neither is possible.
    """
    # Another writer may create or remove `path` between the two attempts.
    for _ in range(ATTEMPTS):
        try:
            if not os.path.lexists(path):
                new.rename(path)
            else:
                _exchange(new, path)
        except FileNotFoundError:
            if not os.path.lexists(new):
                raise
        except OSError as error:
            if error.errno not in OCCUPIED:
                raise
        else:
            return
    raise OSError(errno.EBUSY, f"{path}: other writers replace it again and again", str(path))


def _exchange(new: Path, path: Path) -> None:
    function = _renameat2()
    if function is not None:
        if function(AT_FDCWD, os.fsencode(new), AT_FDCWD, os.fsencode(path), RENAME_EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in WITHOUT_EXCHANGE:
            raise OSError(number, os.strerror(number), str(new), None, str(path))
    _move_aside(new, path)


def _move_aside(new: Path, path: Path) -> None:
    aside = aside_path(new)
    path.rename(aside)
    try:
        new.rename(path)
    except OSError:
        aside.rename(path)
        raise
    aside.rename(new)


@cache
def _renameat2() -> Any:
    """The function of the C library; None where it has none."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
        function.restype = ctypes.c_int
    return function
