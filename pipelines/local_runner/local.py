"""Run a pipeline on this machine with kfp's local runner, one subprocess per step, and show where it is."""

import contextlib
import io
import logging
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from pipelines.local_runner.failure import PipelineError, failure
from pipelines.local_runner.interrupts import Interrupts
from polytask import PACKAGES
from polytask.progress import is_verbose
from polytask.storage.atomic import sha256_file, write_text

ROOT = Path(__file__).resolve().parents[2]
# What a step prints before it is killed must not be lost, nor come after the error that it ends with.
UNBUFFERED = "PYTHONUNBUFFERED"
# kfp writes each step's program into a temporary folder that it never removes; other libraries leave some, too.
TEMPORARY = "TMPDIR"

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_RUNNING = re.compile(r"Running pipeline: '([^']+)'")
_STARTED = re.compile(r"Executing task '([^']+)'")
_CACHED = re.compile(r"Task '?([\w-]+)'? cache hit")
_SUCCEEDED = re.compile(r"Task '([^']+)' finished with status SUCCESS")
_ENTERED = "Got executor_input"
_LEFT = "Wrote executor output file"
_FAILED = re.compile(r"Task '([^']+)' finished with status FAILURE")


@dataclass
class Run:
    """What happened: seconds of the steps that ran, those taken from the cache, paths that the pipeline returned.

    The paths are those of this run's steps; of a step from the cache those of the run that it was taken from.
    """

    log: Path
    seconds: dict[str, float] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)
    # Seconds between a step's first line and its last, without what kfp does before and after.
    own: dict[str, float] = field(default_factory=dict)
    total: float = 0.0
    outputs: dict[str, Path] = field(default_factory=dict)

    @property
    def overhead(self) -> float:
        """Seconds that the whole run took beyond the steps' own work."""
        return self.total - sum(self.own.values())


def code_version() -> str:
    """A checksum of all code: kfp's local cache does not look at it. The step `fingerprint` adds scenario and data."""
    files = sorted(path for folder in PACKAGES for path in (ROOT / folder).rglob("*.py"))
    sums = [f"{path.relative_to(ROOT)} {sha256_file(path)}" for path in files]
    return sha256("\n".join(sums).encode()).hexdigest()[:16]


def run_pipeline(pipeline: Callable[..., Any], arguments: dict[str, Any], root: Path, console: Console) -> Run:
    """Run `pipeline` with `arguments`; artefacts, cache and log are stored below `root`.

    A step that fails leaves no artefact; those before it are taken from the cache by the next run. Raises
    PipelineError, whose last line names the step and the cause.
    """
    from kfp import local

    root.mkdir(parents=True, exist_ok=True)
    write_text(root / "arguments.txt", "".join(f"{name}={value}\n" for name, value in sorted(arguments.items())))
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(root),
        enable_caching=True,
        raise_on_error=True,
    )
    run = Run(log=root / "pipeline.log")
    interrupts = Interrupts()
    earlier = set(root.iterdir())
    begun = time.monotonic()
    with run.log.open("w", encoding="utf-8") as log, console.status("starting the pipeline") as status:
        watcher = _Watcher(log, run, console, status.update, interrupts)
        with contextlib.redirect_stdout(watcher), _logged(watcher), warnings.catch_warnings():
            # The image is not run here, and display names are for the cluster: neither matters to the local runner.
            warnings.filterwarnings("ignore", message="You may be attemping to run a task that uses custom")
            warnings.filterwarnings("ignore", message="Task '.*': settings")
            try:
                with (
                    _environment(UNBUFFERED, "1"),
                    _temporary_folder(),
                    _steps_run_by(interrupts),
                    interrupts.handled(),
                ):
                    task = pipeline(**arguments)
            except (RuntimeError, OSError) as error:  # kfp's own for a failed step; a full disk here
                raise PipelineError(watcher.failure(error)) from error
            except (KeyboardInterrupt, SystemExit):
                console.print(
                    f"stopped; the finished steps are kept in {root}, and the same command goes on from there",
                    soft_wrap=True,
                )
                raise
            finally:
                watcher.remove_failed(root, earlier)
    run.total = time.monotonic() - begun
    run.outputs = {name: Path(getattr(found, "path", found)) for name, found in task.outputs.items()}
    return run


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """A variable for the steps, which inherit the environment."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


@contextlib.contextmanager
def _temporary_folder() -> Iterator[None]:
    """A folder for all temporary files of the steps, which goes with the run."""
    with (
        tempfile.TemporaryDirectory(prefix="polytask-run-", ignore_cleanup_errors=True) as folder,
        _environment(TEMPORARY, folder),
    ):
        yield


@contextlib.contextmanager
def _steps_run_by(interrupts: Interrupts) -> Iterator[None]:
    """Let kfp's runner start the steps' processes by `Interrupts.run_step`, unless a test has them run elsewhere."""
    from kfp.local import subprocess_task_handler as handler

    kfps_own = handler.run_local_subprocess
    if kfps_own.__module__ == handler.__name__:
        handler.run_local_subprocess = interrupts.run_step
    try:
        yield
    finally:
        handler.run_local_subprocess = kfps_own


@contextlib.contextmanager
def _logged(watcher: "_Watcher") -> Iterator[None]:
    """Let the watcher see what the runner logs between steps (cache hits), which it prints nowhere."""
    root = logging.getLogger()
    handler, level = logging.StreamHandler(watcher), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


class _Watcher(io.TextIOBase):
    """Takes what the local runner prints: keeps all of it in the log, shows steps and their last line."""

    def __init__(
        self,
        log: io.TextIOBase | Any,
        run: Run,
        console: Console,
        show: Callable[[str], None],
        interrupts: Interrupts,
    ) -> None:
        self._interrupts = interrupts
        self._log = log
        self._run = run
        self._console = console
        self._show = show
        self._rest = ""
        self._name = ""
        self._step = ""
        self._started = 0.0
        self._entered = 0.0
        self._lines: list[str] = []
        # Steps that failed and were not repeated with success, with what they printed.
        self._failed: dict[str, list[str]] = {}

    def write(self, text: str) -> int:
        self._log.write(text)
        self._log.flush()
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._see(_COLOUR.sub("", line))
        return len(text)

    def failure(self, error: Exception) -> str:
        """The message of the first step that failed, or of an error outside of all steps."""
        for step, lines in self._failed.items():
            return failure(step, lines, self._run.log)
        return f"the pipeline failed (log: {self._run.log}): {error}"

    def remove_failed(self, root: Path, earlier: Collection[Path]) -> None:
        """Remove what the steps of this run left that failed or were interrupted: their outputs may be incomplete.

        `earlier` are the folders of `root` before this run, whose outputs the cache still refers to.
        """
        unfinished = {*self._failed, *([self._step] if self._step else [])}
        for run_folder in root.glob(f"{self._name}-*") if self._name else ():
            for step in unfinished if run_folder not in earlier else ():
                for folder in run_folder.glob(f"**/{step}"):
                    shutil.rmtree(folder, ignore_errors=True)

    def _see(self, line: str) -> None:
        if running := _RUNNING.search(line):
            self._name = running.group(1)
        elif started := _STARTED.search(line):
            self._interrupts.step_taken()
            self._step, self._started, self._lines = started.group(1), time.monotonic(), []
            self._show(f"{self._step} ...")
        elif failed := _FAILED.search(line):
            self._failed[failed.group(1)], self._step = self._lines, ""
            self._interrupts.step_taken()
        elif cached := _CACHED.search(line):
            self._interrupts.step_taken()
            self._run.reused.append(cached.group(1))
            self._console.print(f"[green]✓[/] {cached.group(1)}: reused from an earlier run", highlight=False)
        elif succeeded := _SUCCEEDED.search(line):
            seconds = time.monotonic() - self._started
            self._failed.pop(succeeded.group(1), None)
            self._step = ""
            self._run.seconds[succeeded.group(1)] = round(seconds, 2)
            last = self._lines[-1].strip() if self._lines else ""
            done = f"[green]✓[/] {succeeded.group(1)}: {seconds:.1f} s"
            self._console.print(f"{done}  [dim]{escape(last)}[/]" if last else done, highlight=False, soft_wrap=True)
        elif line.strip().startswith("[KFP Executor"):
            if _ENTERED in line:
                self._entered = time.monotonic()
            elif _LEFT in line:
                self._run.own[self._step] = time.monotonic() - self._entered
                self._interrupts.step_finishing()
        elif line.startswith("    ") and line.strip():
            self._lines.append(line[4:].rstrip())
            if is_verbose():
                self._console.print(f"  [dim]{escape(self._lines[-1])}[/]", highlight=False, soft_wrap=True)
            self._show(f"{self._step}: {escape(line.strip()[:100])}")
