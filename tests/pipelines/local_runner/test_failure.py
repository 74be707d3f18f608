"""A step that fails leaves no half artefact and names the cause; the rerun goes on from the last good step.

One workspace sees it all, one after the other: a broken scenario, a broken table, a training that is killed, a disk
without room, and in the end a run that goes through. Each run starts from what the one before it left.
"""

import io
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
from kfp import dsl
from rich.console import Console

from components.image import IMAGE
from components.ingest import ingest
from components.train import train
from pipelines.local_runner.failure import PipelineError, cause_of, failure
from pipelines.local_runner.local import Run, run_pipeline
from polytask.registry.fingerprint import source_files
from polytask.scenario import load_scenario
from polytask.storage.atomic import sha256_file
from tests.small import write_small_scenario

CACHE = ".kfp_cache"  # kfp's
BEFORE_TRAINING = ["ingest", "join"]
EPOCHS = 12


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def join(scenario: str, tables: dsl.Input[dsl.Dataset], training_set: dsl.Output[dsl.Dataset]) -> None:
    """The training set in plain pandas, which takes a tenth of the feature store's time."""
    from pathlib import Path

    from polytask.data.tables import read_tables
    from polytask.scenario import load_scenario
    from tests.small import training_frame

    training_frame(load_scenario(scenario), read_tables(Path(tables.path))).to_parquet(training_set.path)


@dsl.pipeline(name="up-to-the-model")
def up_to_the_model(scenario: str, code_version: str, checkpoint_dir: str) -> None:
    """As `train_and_deploy` starts, but for the feature store."""
    tables = ingest(scenario=scenario, code_version=code_version)
    rows = join(scenario=scenario, tables=tables.outputs["tables"])
    train(
        scenario=scenario,
        code_version=code_version,
        tables=tables.outputs["tables"],
        training_set=rows.outputs["training_set"],
        checkpoint_dir=checkpoint_dir,
    )


class Workspace:
    """A scenario, its tables, and the folders of the pipeline next to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "pipeline"
        (folder / "data").mkdir()
        self.scenario = write_small_scenario(folder / "data")
        self.edit(self.scenario, "epochs: 2", f"epochs: {EPOCHS}")
        # An interrupted run requires only its tables, which a broken scenario does not change.
        self.sources = source_files(load_scenario(self.scenario))

    def edit(self, file: Path, old: str, new: str) -> None:
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    def run(self) -> Run:
        arguments = {
            "scenario": str(self.scenario),
            "code_version": " ".join(sha256_file(path) for path in (self.scenario, *self.sources)),
            "checkpoint_dir": str(self.folder),
        }
        return run_pipeline(up_to_the_model, arguments, self.root, Console(file=io.StringIO()))

    def last_line_of_failure(self) -> str:
        with pytest.raises(PipelineError) as error:
            self.run()
        return str(error.value).splitlines()[-1]

    @property
    def log(self) -> str:
        return (self.root / "pipeline.log").read_text(encoding="utf-8")

    def steps_with_artefacts(self) -> set[str]:
        """The steps that left anything at all; nothing temporary is left by any."""
        files = [path for path in self.root.rglob("*") if path.is_file() and CACHE not in path.parts]
        assert [path for path in files if path.name.startswith(".") or ".tmp" in str(path)] == []
        return {path.relative_to(self.root).parts[1] for path in files if path.parent != self.root}


@contextmanager
def killed_after(words: str, workspace: Workspace) -> Iterator[None]:
    """Kill the step's process, as the system does for want of memory, once it has printed some words."""
    killed = threading.Event()
    given_up = time.monotonic() + 120

    def watch() -> None:
        while time.monotonic() < given_up and not killed.is_set():
            if (workspace.root / "pipeline.log").is_file() and words in workspace.log:
                for process in psutil.Process().children(recursive=True):
                    # The steps alone: servers of other tests are children of this process, too.
                    with suppress(psutil.NoSuchProcess):  # it may end while we look
                        if "kfp.dsl.executor_main" in process.cmdline():
                            process.kill()
                            killed.set()
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        thread.join(timeout=130)
    assert killed.is_set()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes fails here and in the steps, as on a disk without room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.timeout(300)
def test_each_failure_names_its_cause_and_the_rerun_goes_on(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)

    workspace.edit(workspace.scenario, "kind: retrieval", "kind: retrival")
    cause = workspace.last_line_of_failure()
    assert cause.startswith("step 'ingest' failed (log: ")
    assert "tasks.0.kind: invalid value 'retrival'; expected 'binary'" in cause
    assert workspace.steps_with_artefacts() == set()
    workspace.edit(workspace.scenario, "kind: retrival", "kind: retrieval")

    events = tmp_path / "data" / "interactions.csv"
    good = events.read_text(encoding="utf-8")
    first = good.splitlines()[1]
    workspace.edit(events, first, first[: first.rindex(",")] + ",many")
    cause = workspace.last_line_of_failure()
    assert "interactions: 1 of" in cause
    assert "rating: not a number (1 rows). First rows: row 0: {" in cause
    assert workspace.steps_with_artefacts() == set()
    events.write_text(good, encoding="utf-8")

    with killed_after(f"epoch 2/{EPOCHS}", workspace):
        cause = workspace.last_line_of_failure()
    assert cause.startswith("step 'train' failed")
    assert "ended by SIGKILL; the system does so when memory runs out" in cause
    assert workspace.steps_with_artefacts() == set(BEFORE_TRAINING)

    with files_of_at_most(100_000):
        cause = workspace.last_line_of_failure()
    assert cause.startswith("step 'train' failed")
    assert "small.resume.safetensors: cannot be written: File too large" in cause
    assert workspace.steps_with_artefacts() == set(BEFORE_TRAINING)
    assert not list(tmp_path.glob(".small.resume*"))

    run = workspace.run()
    assert run.reused == BEFORE_TRAINING
    assert list(run.seconds) == ["train"]
    assert "resumed after epoch" in workspace.log
    assert workspace.steps_with_artefacts() == {*BEFORE_TRAINING, "train"}


TRACEBACK = ["Traceback (most recent call last):", '  File "x.py", line 1, in <module>', "    run()"]


@pytest.mark.parametrize(
    ("lines", "text", "known"),
    [
        ([*TRACEBACK, "polytask.errors.DataError: users: empty"], "users: empty", True),
        ([*TRACEBACK, "feature_repo.x.Error: first", "second"], "first second", True),
        (["KeyError: 1", *TRACEBACK, "ValueError: wrong", "  by far"], "ValueError: wrong by far", False),
        ([*TRACEBACK, "KeyError: 1", "", "During ...:", *TRACEBACK, "polytask.errors.DataError: a: b"], "a: b", True),
        (["epoch 1", "Killed"], "its process was ended by SIGKILL; the system does so when memory runs out", True),
        (["Segmentation fault (core dumped)"], "its process was ended by SIGSEGV", False),
        (["epoch 1"], "its process ended without an error of its own: was it killed?", False),
        ([], "its process ended without an error of its own: was it killed?", False),
    ],
)
def test_causes(lines: list[str], text: str, known: bool) -> None:
    cause = cause_of(lines)
    assert (cause.text, cause.known) == (text, known)


def test_a_bug_shows_where_it_is() -> None:
    text = failure("train", [*TRACEBACK, "ValueError: wrong"], "x.log")
    assert '  File "x.py", line 1, in <module>' in text
    assert text.splitlines()[-1] == "step 'train' failed (log: x.log): ValueError: wrong"
    assert failure("train", [*TRACEBACK, "polytask.errors.DataError: a"], "x.log").count("\n") == 0


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def whole(table: dsl.Output[dsl.Dataset]) -> None:
    """A step that does what it should."""
    from pathlib import Path

    Path(table.path).write_text("whole", encoding="utf-8")


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def half(table: dsl.Input[dsl.Dataset], first: dsl.Output[dsl.Dataset], second: dsl.Output[dsl.Dataset]) -> None:
    """A step that fails between its outputs."""
    from pathlib import Path

    from polytask.errors import DataError

    Path(first.path).write_text("there", encoding="utf-8")
    raise DataError("table: no second half")


def test_of_a_failed_step_no_output_is_left(tmp_path: Path) -> None:
    @dsl.pipeline(name="half-way")
    def half_way() -> None:
        half(table=whole().outputs["table"])

    with pytest.raises(PipelineError, match=r"^step 'half' failed \(log: .*\): table: no second half$"):
        run_pipeline(half_way, {}, tmp_path, Console(file=io.StringIO()))
    assert [path.name for path in tmp_path.glob("*/*/*") if path.name != "executor_output.json"] == ["table"]
    assert not list(tmp_path.glob("*/half"))
