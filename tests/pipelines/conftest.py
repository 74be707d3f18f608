"""What the tests of pipelines share."""

import pytest

from tests.pipelines.in_process import run_here


@pytest.fixture
def steps_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of local pipelines run in this process."""
    monkeypatch.setattr("kfp.local.subprocess_task_handler.run_local_subprocess", run_here)
    # The steps log to an output that is closed when the pipeline ends.
    monkeypatch.setattr("polytask.progress.log_to_stdout", lambda *_: None)
