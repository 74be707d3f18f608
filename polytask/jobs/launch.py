"""Start processes that train one model together, on this machine, by torchrun. The training is the same as in one."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from polytask.errors import TrainingError
from polytask.jobs.traceback import cause_in
from polytask.scenario.schema import Scenario

DEADLINE_HOURS = 72.0


def train_together(
    nproc_per_node: int,
    scenario: Scenario,
    tables: Path,
    training_set: Path,
    target: Path,
    log: Callable[[str], None],
    work: Path | None = None,
    hours: float = DEADLINE_HOURS,
    keep_state: bool = False,
) -> dict[str, str | float]:
    """Train a model in several processes: one per GPU, or on the CPU where there is none.

    No process is left running after an error.

    Args:
        nproc_per_node: Number of processes on this machine.
        scenario: The scenario.
        tables: Folder of the clean tables that ingest wrote.
        training_set: Training set, one row per event.
        target: Folder of the checkpoint.
        log: Called with each line of progress.
        work: Folder of the training state; None for the parent of `target`.
        hours: Limit of the training, in hours.
        keep_state: Whether the training state stays after the checkpoint is written.

    Returns:
        The same as `train_model`.

    Raises:
        TrainingError: A process failed, or the limit was exceeded. The message has the first cause.
    """
    with TemporaryDirectory() as folder:
        job, result = Path(folder) / "job.json", Path(folder) / "result.json"
        content = {
            "scenario": scenario.model_dump(mode="json"),
            "tables": str(tables),
            "training_set": str(training_set),
            "target": str(target),
            "work": None if work is None else str(work),
            "result": str(result),
            "keep_state": keep_state,
        }
        job.write_text(json.dumps(content), encoding="utf-8")
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={nproc_per_node}"]
        _follow([*command, "-m", "polytask.jobs.launch", str(job)], log, hours)
        found: dict[str, str | float] = json.loads(result.read_text(encoding="utf-8"))
        return found


def _follow(command: list[str], log: Callable[[str], None], hours: float) -> None:
    """Run a command, forward its output, and raise TrainingError with its first cause if it fails."""
    causes: list[str] = []
    late = threading.Event()
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")

    def end() -> None:
        late.set()
        running.terminate()  # torchrun ends its processes

    timer = threading.Timer(3600 * hours, end)
    timer.start()
    try:
        assert running.stdout is not None
        for line in running.stdout:
            log(line.rstrip("\n"))
            if cause := cause_in(line):
                causes.append(cause)
        code = running.wait(timeout=60)
    finally:
        timer.cancel()
        if running.poll() is None:
            running.terminate()
            running.wait(timeout=60)
    if late.is_set():
        raise TrainingError(f"the processes did not end within {hours:g} hours")
    if code:
        raise TrainingError(f"the processes ended with {code}: {causes[0] if causes else 'killed, without a word'}")


def main(job: Path) -> None:
    """What each process does: train its share; the first one writes the checkpoint and what the training came to."""
    from polytask.environment import prepare_environment

    prepare_environment()
    from polytask.jobs.train import train_model
    from polytask.storage.atomic import write_text
    from polytask.training.distributed import process_state

    content = json.loads(job.read_text(encoding="utf-8"))
    found = train_model(
        Scenario.model_validate(content["scenario"]),
        Path(content["tables"]),
        Path(content["training_set"]),
        Path(content["target"]),
        lambda line: print(line, flush=True),  # noqa: T201 - the process that started this one reads it
        None if content["work"] is None else Path(content["work"]),
        keep_state=content["keep_state"],
    )
    if process_state().is_main_process:
        write_text(Path(content["result"]), json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
