"""Measure how the steps before training grow: `python -m benchmarks.growth --events 100000 --events 1000000`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.figures import interleaved
from benchmarks.growth.data import write_data
from polytask.environment import prepare_environment
from polytask.storage.atomic import write_text

ONCE = ("ingest", "features", "training_set")
DEADLINE_SECONDS = 3600
JOIN_BAR = 2.0
SECONDS_BAR, GIB_BAR = 300, 6

Measure = Callable[[str, Path], dict[str, Any]]


class StepKilled(Exception):
    """A step was ended from outside: on a machine without memory left, by the kernel."""


def main(
    events: Annotated[list[int] | None, typer.Option(min=1000, help="How many; may stand several times.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="How often both joins are measured, in turn.")] = 3,
    out: Annotated[Path, typer.Option(help="The JSON file; the plot is next to it.")] = Path("build/growth.json"),
    epoch: Annotated[bool, typer.Option(help="Whether batches of a training epoch are timed too.")] = True,
) -> None:
    """Measure, print, write."""
    prepare_environment()
    console = Console(width=None if sys.stdout.isatty() else 140)
    grow(events or [100_000, 1_000_000], rounds, out, console.print, in_own_process, epoch)
    console.print(f"wrote {out} and {out.with_suffix('.svg')}")


def grow(
    events: list[int], rounds: int, out: Path, log: Callable[[str], None], measure: Measure, epoch: bool = True
) -> dict[str, Any]:
    """Every step at every size. What one size came to is written before the next one starts."""
    found: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "sizes": {},
    }
    for count in events:
        found["load_before"] = round(os.getloadavg()[0], 2)
        with TemporaryDirectory() as name:
            size: dict[str, Any] = {}
            found["sizes"][str(count)] = size
            try:
                one_size(count, Path(name), rounds, log, measure, epoch, size)
            except StepKilled as killed:
                # What was measured before it counts; how far a machine gets is a result too.
                size["killed"] = str(killed)
                log(f"[red]{count:,} events: {killed}[/]")
        write_text(out, json.dumps(found, indent=2) + "\n")
        plot(found["sizes"], out.with_suffix(".svg"))
    return found


def one_size(
    count: int,
    folder: Path,
    rounds: int,
    log: Callable[[str], None],
    measure: Measure,
    epoch: bool,
    steps: dict[str, Any],
) -> None:
    """The steps in the order of the pipeline, then both joins in turn; each goes into `steps` once it is measured."""
    scenario = write_data(count, folder / "raw")
    write_text(folder / "scenario.json", scenario.model_dump_json())
    for step in ONCE:
        steps[step] = measure(step, folder)
        log(f"{count:,} events: {step}: {steps[step]['seconds']:.1f} s, {steps[step]['peak_gib']:.2f} GiB")
    steps["step_seconds"] = round(sum(steps[step].get("process_seconds", steps[step]["seconds"]) for step in ONCE), 1)
    steps["peak_gib"] = max(steps[step]["peak_gib"] for step in ONCE)
    log(
        f"{count:,} events: {steps['step_seconds']:.0f} s (bar {SECONDS_BAR} at 1,000,000), "
        f"{steps['peak_gib']:.1f} GiB (bar {GIB_BAR})"
    )
    sides: dict[str, list[dict[str, Any]]] = {"join": [], "plain_asof": []}
    steps |= sides

    def side(step: str) -> Callable[[int], float]:
        def run(_: int) -> float:
            sides[step].append(measure(step, folder))
            return float(sides[step][-1]["seconds"])

        return run

    seconds = interleaved(rounds, {step: side(step) for step in sides})
    steps["join_over_plain_asof"] = ratio = round(median(seconds["join"]) / median(seconds["plain_asof"]), 3)
    log(f"{count:,} events: join {ratio:.2f} times a plain ASOF join (bar {JOIN_BAR:g})")
    if epoch:
        steps["epoch"] = measure("epoch", folder)
        log(f"{count:,} events: epoch: {steps['epoch']['epoch_seconds']:.0f} s in {steps['epoch']['batches']} batches")


def in_own_process(step: str, folder: Path) -> dict[str, Any]:
    """A step as the pipeline runs it; `process_seconds` counts the imports too. Raises StepKilled."""
    began = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.growth.steps", step, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=DEADLINE_SECONDS, check=False)
    if done.returncode < 0:
        raise StepKilled(f"{step} was ended by {signal.Signals(-done.returncode).name}")
    done.check_returncode()
    found: dict[str, Any] = json.loads(done.stdout.rstrip().rpartition("\n")[2])
    return {**found, "process_seconds": round(time.monotonic() - began, 2)}


def plot(sizes: dict[str, Any], path: Path) -> None:
    """Seconds and memory over events, as SVG."""
    from matplotlib.figure import Figure as Plot

    drawn = Plot(figsize=(9, 3.5), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for step in ONCE:
        measured = {int(count): size[step] for count, size in sizes.items() if step in size}
        left.plot(list(measured), [one["seconds"] for one in measured.values()], marker="o", label=step)
        right.plot(list(measured), [one["peak_gib"] for one in measured.values()], marker="o", label=step)
    left.set(xscale="log", yscale="log", xlabel="events", ylabel="seconds")
    right.set(xscale="log", xlabel="events", ylabel="largest memory, GiB")
    left.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    typer.run(main)
