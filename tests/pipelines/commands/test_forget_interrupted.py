"""`polytask forget` is stopped at each place, between its steps and by a signal: the next run finishes its work."""

import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.forgetting.run import HANDLERS
from pipelines.forgetting.target import ForgetResult, Handler, Target
from polytask.contract.contract import load_contract
from polytask.registry.folder import FolderRegistry
from polytask.storage.temporary_names import machine
from tests.pipelines.forgotten_workspace import USER, WORD, registry, run, traces_of_user, vectors


class Stopped(Exception):
    """In place of a signal."""


def interrupted(*_: object) -> None:
    raise Stopped


@pytest.mark.usefixtures("quick_export")
@pytest.mark.parametrize("stop_at", list(HANDLERS))
def test_an_interrupted_run_is_finished_by_the_next(place: Path, monkeypatch: pytest.MonkeyPatch, stop_at: str) -> None:
    rows = vectors(place)
    handler = HANDLERS[stop_at]
    (place / "eval").mkdir()

    def stopped(target: Target, found: list[ForgetResult]) -> list[ForgetResult]:
        handler.remove(target, found)
        raise Stopped

    monkeypatch.setitem(HANDLERS, stop_at, Handler(handler.find, stopped))
    with suppress(Stopped):  # a place without the user is not handled
        run(place)
    assert registry(place).live() is not None
    monkeypatch.setitem(HANDLERS, stop_at, handler)
    run(place)
    assert traces_of_user(place / "workspace", rows) == []
    assert not (place / "eval").exists()
    assert len(registry(place).versions()) == 2


@pytest.mark.usefixtures("quick_export")
def test_a_rewrite_that_is_interrupted_between_its_steps(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version takes the place of another in three steps; after each of them the next run goes on."""
    rows = vectors(place)
    for step in ("_write", "_remove"):
        with monkeypatch.context() as patch:
            patch.setattr(FolderRegistry, step, interrupted)
            with pytest.raises(Stopped):
                run(place)
        live = registry(place).live()
        assert live is not None
        load_contract(Path(live.bundle))
    run(place)
    assert traces_of_user(place / "workspace", rows) == []
    assert len(registry(place).versions()) == 2


@pytest.mark.usefixtures("quick_export")
def test_folders_that_a_killed_process_left_go_too(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version whose last folder was moved aside is on no list, and what a dead writer wrote is under no name."""
    rows = vectors(place)
    folder = registry(place).folder
    removed: list[Path] = []

    def rmtree(path: Path) -> None:
        removed.append(path)
        if len(removed) == 4:  # checkpoint and bundle of two versions
            raise Stopped
        shutil.rmtree(path)

    with monkeypatch.context() as patch:
        patch.setattr("polytask.storage.removal.shutil", SimpleNamespace(rmtree=rmtree))
        with pytest.raises(Stopped):
            run(place)
    assert list(folder.glob(".*.removed"))
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(timeout=30)
    for target in (folder / "7", folder.parent / "update", folder.parent / "feature_store" / "sources" / "a.parquet"):
        half = target.with_name(f".{target.name}.{machine()}-{process.pid}-0123abcd.tmp")
        half.mkdir()
        (half / "users.csv").write_text(f"{USER},{WORD}", encoding="utf-8")
    run(place)
    assert traces_of_user(place / "workspace", rows) == []
    assert not list(folder.glob(".*"))
