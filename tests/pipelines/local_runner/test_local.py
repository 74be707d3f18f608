"""The local runner's watcher, and a failing pipeline."""

import io
import tempfile
import tomllib
from pathlib import Path

import pytest
from kfp import dsl
from rich.console import Console

from components.image import IMAGE
from pipelines.local_runner.local import ROOT, PipelineError, run_pipeline
from pipelines.train_and_deploy import train_and_deploy
from polytask import PACKAGES


def test_a_failing_step_is_named_with_its_cause(tmp_path: Path) -> None:
    arguments = {
        "scenario": str(tmp_path / "missing.yaml"),
        "feature_store": str(tmp_path / "store"),
        "registry_dir": str(tmp_path / "published"),
        "code_version": "test",
    }
    with pytest.raises(PipelineError, match=r"step 'fingerprint' failed[\s\S]*missing\.yaml: cannot be read"):
        run_pipeline(train_and_deploy, arguments, tmp_path / "run", Console(file=io.StringIO()))
    assert not (tmp_path / "published").exists()
    assert "missing.yaml" in (tmp_path / "run" / "pipeline.log").read_text(encoding="utf-8")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def work(seconds: float) -> None:
    import time

    time.sleep(seconds)


@dsl.pipeline(name="two-steps")
def two_steps(seconds: float) -> None:
    first = work(seconds=seconds)
    work(seconds=seconds).after(first)


def test_the_checksum_of_the_code_covers_all_packages() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(PACKAGES) == set(project["tool"]["importlinter"]["root_packages"])


def test_a_run_leaves_no_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    run = run_pipeline(two_steps, {"seconds": 0.0}, tmp_path / "run", Console(file=io.StringIO()))
    assert set(run.seconds) == {"work", "work-2"}
    assert list(temporary.iterdir()) == []


def test_the_runners_own_time_is_told_from_the_steps(tmp_path: Path) -> None:
    run = run_pipeline(two_steps, {"seconds": 0.5}, tmp_path, Console(file=io.StringIO()))
    assert set(run.own) == {"work", "work-2"}
    assert all(own >= 0.5 for own in run.own.values())
    assert run.total - sum(run.seconds.values()) <= run.overhead <= run.total - 1
    again = run_pipeline(two_steps, {"seconds": 0.5}, tmp_path, Console(file=io.StringIO()))
    assert again.own == {}
    assert again.overhead == again.total
