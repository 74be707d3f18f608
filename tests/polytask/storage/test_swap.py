"""A folder is replaced without a moment in which it is absent, and a kill at any point leaves a whole one."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from polytask.storage import swap
from polytask.storage.atomic import atomic_folder
from polytask.storage.temporary_names import machine

CONTENT = "content.txt"
# Replaces a folder, and ends its own process, as a kill does, at the given call into the file system.
KILLED_AT = """
import os, sys
from pathlib import Path
from polytask.storage import swap
from polytask.storage.atomic import atomic_folder

target, last, exchange = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "exchange"
if not exchange:
    swap._renameat2 = lambda: None
calls = 0

def count(event, arguments):
    global calls
    if event.startswith(("os.", "shutil.", "open")):
        calls += 1
        if calls == last:
            os.kill(os.getpid(), 9)

sys.addaudithook(count)
with atomic_folder(target) as temporary:
    (temporary / "content.txt").write_text("new")
"""


def replace(folder: Path, text: str) -> None:
    with atomic_folder(folder) as temporary:
        (temporary / CONTENT).write_text(text, encoding="utf-8")


def test_a_reader_in_a_loop_always_finds_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "published"
    replace(folder, "0")
    done = threading.Event()
    absent, read = [], set()

    def look() -> None:
        while not done.is_set():
            try:
                read.add((folder / CONTENT).read_text(encoding="utf-8"))
            except FileNotFoundError as error:
                absent.append(error)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(200):
        replace(folder, str(number))
    done.set()
    for reader in readers:
        reader.join(timeout=10)
    assert absent == []
    assert len(read) > 1
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("way", ["exchange", "aside"])
def test_a_kill_at_any_point_leaves_a_whole_folder(tmp_path: Path, way: str) -> None:
    for last in range(1, 60):
        folder = tmp_path / str(last) / "published"
        replace(folder, "old")
        done = subprocess.run(
            [sys.executable, "-c", KILLED_AT, str(folder), str(last), way], timeout=60, capture_output=True, check=False
        )
        if way == "exchange" or done.returncode == 0:
            assert (folder / CONTENT).read_text(encoding="utf-8") in ("old", "new"), last
        if done.returncode == 0:
            break
        assert done.returncode == -9, done.stderr
        # The next writer first restores what a dead one had moved aside, and removes the rest.
        with pytest.raises(ZeroDivisionError), atomic_folder(folder):
            raise ZeroDivisionError
        assert (folder / CONTENT).read_text(encoding="utf-8") in ("old", "new"), last
        assert list(folder.parent.iterdir()) == [folder]
    else:
        pytest.fail("the child was killed at every step")
    assert last > 10
    assert (folder / CONTENT).read_text(encoding="utf-8") == "new"
    assert machine() not in "".join(path.name for path in folder.parent.iterdir())


def test_two_writers_of_one_folder_leave_one_of_theirs(tmp_path: Path) -> None:
    folder = tmp_path / "published"
    errors: list[Exception] = []

    def write(text: str) -> None:
        try:
            for _ in range(50):
                replace(folder, text)
        except Exception as error:  # noqa: BLE001 - reported by the test
            errors.append(error)

    writers = [threading.Thread(target=write, args=(text,)) for text in ("a", "b")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(timeout=30)
    assert errors == []
    assert (folder / CONTENT).read_text(encoding="utf-8") in ("a", "b")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    replace(tmp_path / "1", "old")
    (tmp_path / "current").symlink_to("1")
    replace(tmp_path / "current", "new")
    assert not (tmp_path / "current").is_symlink()
    assert (tmp_path / "1" / CONTENT).read_text(encoding="utf-8") == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "current"]


def test_without_the_exchange_the_old_folder_comes_back_after_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swap, "_renameat2", lambda: None)
    replace(tmp_path / "published", "old")
    with pytest.raises(FileNotFoundError):
        swap._move_aside(tmp_path / ".published.gone.tmp", tmp_path / "published")
    assert (tmp_path / "published" / CONTENT).read_text(encoding="utf-8") == "old"
    replace(tmp_path / "published", "new")
    assert (tmp_path / "published" / CONTENT).read_text(encoding="utf-8") == "new"
