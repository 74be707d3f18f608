"""Ctrl-C and SIGTERM in a local run: finished steps are kept, the one in progress is stopped with all it started."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from kfp import dsl
from rich.console import Console

from components.image import IMAGE
from pipelines.local_runner.interrupts import Interrupts
from pipelines.local_runner.local import ROOT, Run, run_pipeline

SECONDS = 60.0
RUN = """
import sys
from pathlib import Path
from rich.console import Console
from pipelines.local_runner.local import run_pipeline
from tests.pipelines.local_runner.test_interrupts import two_steps

root = Path(sys.argv[1])
run_pipeline(two_steps, {"value": sys.argv[2], "root": str(root)}, root / "pipeline", Console(file=sys.stdout))
"""


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def produce(value: str, root: str, model: dsl.Output[dsl.Model]) -> None:
    """Writes its output, and needs a moment to end after the executor has written its own."""
    import atexit
    import time
    from pathlib import Path

    Path(model.path).write_text(value, encoding="utf-8")
    if value == "slow end":
        atexit.register(lambda: (Path(root, "ending").touch(), time.sleep(2)))


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def use(value: str, root: str, model: dsl.Input[dsl.Model], result: dsl.Output[dsl.Artifact]) -> None:
    """Never ends for some values; a process that it starts would outlive it."""
    import subprocess
    import time
    from pathlib import Path

    Path(result.path).write_text("half", encoding="utf-8")
    if value == "endless" and not Path(root, "go").exists():
        child = subprocess.Popen(["sleep", "600"])
        Path(root, "child.new").write_text(str(child.pid), encoding="utf-8")
        Path(root, "child.new").rename(Path(root, "child"))
        time.sleep(600)


@dsl.pipeline(name="two")
def two_steps(value: str, root: str = "") -> None:
    model = produce(value=value, root=root)
    use(value=value, root=root, model=model.outputs["model"])


def run(root: Path, value: str) -> Run:
    return run_pipeline(two_steps, {"value": value, "root": str(root)}, root / "pipeline", Console(file=io.StringIO()))


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def stopped_at(root: Path, value: str, file: str, number: signal.Signals) -> tuple[int, str]:
    """Start a run in its own process group, and signal the group, as a terminal does, once `file` exists."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(root), value],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(lambda: (root / file).exists() or process.poll() is not None)
        os.killpg(process.pid, number)
        output, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.communicate(timeout=10)
    return process.returncode, output


def outputs(root: Path, step: str) -> list[str]:
    """The outputs of the steps of this name, of all runs."""
    return sorted(
        path.read_text(encoding="utf-8")
        for path in (root / "pipeline").glob(f"*/{step}/*")
        if path.stem != "executor_output"
    )


def test_a_step_that_has_written_its_outputs_is_kept(tmp_path: Path) -> None:
    returned, output = stopped_at(tmp_path, "slow end", "ending", signal.SIGINT)
    assert returned == -signal.SIGINT, output
    assert "the finished steps are kept" in output
    assert outputs(tmp_path, "produce") == ["slow end"]
    assert outputs(tmp_path, "use") == []
    assert run(tmp_path, "slow end").reused == ["produce"]


def test_the_step_in_progress_is_stopped_and_the_one_before_is_kept(tmp_path: Path) -> None:
    returned, output = stopped_at(tmp_path, "endless", "child", signal.SIGTERM)
    assert returned == 143, output
    child = int((tmp_path / "child").read_text(encoding="utf-8"))
    wait_for(lambda: not psutil.pid_exists(child))
    assert outputs(tmp_path, "produce") == ["endless"]
    assert outputs(tmp_path, "use") == []
    (tmp_path / "go").touch()
    assert run(tmp_path, "endless").reused == ["produce"]


def test_what_earlier_runs_finished_is_kept(tmp_path: Path) -> None:
    assert run(tmp_path, "first").reused == []
    stopped_at(tmp_path, "endless", "child", signal.SIGINT)
    assert outputs(tmp_path, "use") == ["half"]
    assert run(tmp_path, "first").reused == ["produce", "use"]


STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


def test_a_step_that_ignores_the_signal_is_killed_after_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    interrupts = Interrupts(grace_seconds=0.5)

    def interrupt(line: str, end: str = "") -> None:
        if line.startswith("ready"):
            os.kill(os.getpid(), signal.SIGINT)

    started = time.monotonic()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt), interrupts.handled():
        patch.setattr("builtins.print", interrupt)
        interrupts.run_step([sys.executable, "-c", STUBBORN])
    assert time.monotonic() - started < SECONDS
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts().handled():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
