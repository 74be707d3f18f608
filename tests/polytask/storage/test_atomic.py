"""A stopped run leaves the old file or the new one, and no other file."""

import errno
import resource
import signal
import subprocess
import sys

import pytest
import torch

from polytask.errors import DiskError
from polytask.storage.atomic import atomic_file, atomic_folder, sha256_file, sha256_folder, write_text
from polytask.storage.safetensors_file import save_tensors

# Writes half of the new file, prints a line, and then waits to be killed.
HALF_WAY = """
import sys, time
from pathlib import Path
from polytask.storage.atomic import atomic_file
with atomic_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("half", flush=True)
    time.sleep(60)
"""


def test_killed_midway_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    process = subprocess.Popen([sys.executable, "-c", HALF_WAY, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "half\n"
    finally:
        process.kill()
        process.communicate(timeout=10)
    assert process.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"


def test_error_midway_leaves_the_old_file_alone(tmp_path):
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_error_midway_leaves_the_old_folder_alone(tmp_path):
    path = tmp_path / "folder"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_folder(path) as temporary:
        (temporary / "b").write_text("half")
        raise ZeroDivisionError
    assert [file.name for file in path.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "deep" / "folder"
    for name in ("a", "b"):
        with atomic_folder(path) as temporary:
            (temporary / name).write_text(name)
    assert [file.name for file in path.iterdir()] == ["b"]
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o755


def test_others_may_read_the_file(tmp_path):
    write_text(tmp_path / "file", "x")
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_checksums(tmp_path):
    write_text(tmp_path / "one" / "a", "abc")
    # The SHA-256 of "abc" from FIPS 180-2, appendix B.1.
    assert sha256_file(tmp_path / "one" / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    write_text(tmp_path / "two" / "a", "abc")
    assert sha256_folder(tmp_path / "one") == sha256_folder(tmp_path / "two")
    (tmp_path / "two" / "a").rename(tmp_path / "two" / "b")
    assert sha256_folder(tmp_path / "one") != sha256_folder(tmp_path / "two")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("writing", [atomic_file, atomic_folder])
def test_want_of_room_names_the_file(tmp_path, writing, number):
    path = tmp_path / "tables"
    with pytest.raises(DiskError, match=f"^{path}: cannot be written: [A-Z]"), writing(path):
        raise OSError(number, "no room")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PermissionError), writing(path):
        raise OSError(errno.EACCES, "not allowed")


def test_tensors_that_find_no_room_name_the_file(tmp_path):
    """A limit on the size of files simulates a full disk: the kernel refuses the write in the same way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with (
            pytest.raises(DiskError, match=r"model: cannot be written: File too large"),
            atomic_file(tmp_path / "model") as temporary,
        ):
            save_tensors({"a": torch.zeros(10_000)}, temporary)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
