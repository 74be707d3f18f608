"""Fixtures of the pipeline tests."""

import shutil
from pathlib import Path

import pytest

from tests.pipelines.in_process import run_here


@pytest.fixture
def steps_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of local pipelines run in this process."""
    monkeypatch.setattr("kfp.local.subprocess_task_handler.run_local_subprocess", run_here)
    # The steps log to an output that is closed when the pipeline ends.
    monkeypatch.setattr("polytask.progress.log_to_stdout", lambda *_: None)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables in `data`, what the commands made of them in `workspace`. Read only."""
    from tests.pipelines.forgotten_workspace import build_workspace, write_scenario

    folder = tmp_path_factory.mktemp("built")
    build_workspace(write_scenario(folder / "data"), folder / "workspace")
    return folder


@pytest.fixture
def place(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `built` that a test may change; its text vectors and the logs of `polytask serve` are its own."""
    shutil.copytree(built, tmp_path / "copy", symlinks=True)
    file = tmp_path / "copy" / "data" / "small.yaml"
    file.write_text(file.read_text().replace(str(built), str(tmp_path / "copy")), encoding="utf-8")
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("serving.local.stack.LOGS", tmp_path / "serve")
    return tmp_path / "copy"


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """`polytask forget` copies the old bundle instead of exporting a new one."""
    from tests.pipelines.forget_without_export import forget_job_without_export

    monkeypatch.setattr("polytask.jobs.forget_user.forget_job", forget_job_without_export)
