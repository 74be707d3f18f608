"""The local runner's watcher, and a failing pipeline."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.local import PipelineError, run_pipeline
from pipelines.train_and_deploy import train_and_deploy


def test_a_failing_step_is_named_with_its_cause(tmp_path: Path) -> None:
    arguments = {
        "scenario": str(tmp_path / "missing.yaml"),
        "feature_store": str(tmp_path / "store"),
        "target": str(tmp_path / "published"),
        "code_version": "test",
    }
    with pytest.raises(PipelineError, match=r"step 'fingerprint' failed[\s\S]*missing\.yaml: cannot be read"):
        run_pipeline(train_and_deploy, arguments, tmp_path / "run", Console(file=io.StringIO()))
    assert not (tmp_path / "published").exists()
    assert "missing.yaml" in (tmp_path / "run" / "pipeline.log").read_text(encoding="utf-8")
