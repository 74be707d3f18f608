"""Temporary names are unique across processes and pods; only what dead writers left is removed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from polytask.storage.atomic import atomic_file, temporary_folder, write_text
from polytask.storage.temporary_names import ABANDONED_SECONDS, TEMPORARY, machine, remove_all_abandoned, temporary_path


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait(timeout=30)
    return done.pid


def left(target: Path, owner: str, pid: int, age: float = 0.0) -> Path:
    path = target.with_name(f".{target.name}.{owner}-{pid}-0123abcd.tmp")
    path.mkdir()
    (path / "part").write_text("half", encoding="utf-8")
    for one in (path / "part", path):
        os.utime(one, (one.stat().st_mtime - age,) * 2)
    return path


def test_names_differ_between_pods_and_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.json"
    own = {temporary_path(target) for _ in range(100)}
    assert len(own) == 100
    assert {path.parent for path in own} == {tmp_path}
    before = machine()
    monkeypatch.setattr("socket.gethostname", lambda: "another-pod")
    machine.cache_clear()
    try:
        assert machine() != before
    finally:
        machine.cache_clear()


def test_what_a_dead_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    dead, alive = left(target, machine(), dead_process()), left(target, machine(), os.getpid())
    long_ago = left(target, "00000000", 1, ABANDONED_SECONDS + 60)
    today = left(target, "00000000", 2, ABANDONED_SECONDS - 60)
    neighbour = left(tmp_path / "a.json.b", machine(), dead_process())
    write_text(target, "new")
    assert not dead.exists()
    assert not long_ago.exists()
    assert sorted(tmp_path.iterdir()) == sorted([target, alive, today, neighbour])


def test_dead_writers_of_all_targets_of_a_folder(tmp_path: Path) -> None:
    dead = [left(tmp_path / name, machine(), dead_process()) for name in ("a.json", "a.json.b", "bundle")]
    alive = left(tmp_path / "a.json", machine(), os.getpid())
    kept = tmp_path / ".env.tmp"
    kept.write_text("not ours", encoding="utf-8")
    remove_all_abandoned(tmp_path)
    assert not any(path.exists() for path in dead)
    assert sorted(tmp_path.iterdir()) == sorted([alive, kept])


def test_a_folder_that_is_written_to_is_not_abandoned(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    busy = left(target, "00000000", 3, ABANDONED_SECONDS + 60)
    (busy / "more").write_text("now", encoding="utf-8")
    with temporary_folder(target) as temporary:
        assert temporary.is_dir()
    assert list(tmp_path.iterdir()) == [busy]


def test_content_is_on_the_disk_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[tuple[str, str]] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda handle: (events.append(("fsync", Path(f"/proc/self/fd/{handle}").readlink().name)), sync(handle)),
    )
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append(("rename", self.name)), replace(self, to))[1])
    with atomic_file(tmp_path / "a") as temporary:
        name = temporary.name
    assert events == [("fsync", name), ("rename", name), ("fsync", tmp_path.name)]
    assert temporary.suffix == TEMPORARY
