"""Run the benchmarks over what `make demo` left, print the figures and write build/bench.json."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from benchmarks.figures import Figure
from benchmarks.report import print_table, write_json
from benchmarks.workbench import Workbench
from polytask.environment import prepare_environment
from polytask.errors import PolytaskError
from polytask.registry.files import VersionFiles

# Each is a module with `measure(bench, rounds) -> list[Figure]`, in the order in which they run.
BENCHMARKS = (
    "online_vs_ort",
    "feature_lookup",
    "repeat_text",
    "three_tasks",
    "ort_vs_eager",
    "int8_vs_fp32",
    "cost",
    "peers",
    "console",
)
LEAST_ROUNDS = 5
WIDTH = 140
BUSY_LOAD = 1.0


def main(
    only: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(BENCHMARKS)}; may stand several times.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help=f"Fewer than {LEAST_ROUNDS} are for trying out.")] = LEAST_ROUNDS,
    demo: Annotated[Path, typer.Option(help="What `make demo` left for a scenario.")] = Path("build/demo/movielens"),
    out: Annotated[Path, typer.Option(help="The JSON file; logs and plots go into the folder of its name.")] = Path(
        "build/bench.json"
    ),
    scale: Annotated[float, typer.Option(min=0.001, help="Below 1: shorter loops, to see that it runs.")] = 1.0,
) -> None:
    """Measure, print, write."""
    # In a file the table is as wide as it needs; it is not readable at 80 columns.
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    chosen = only or list(BENCHMARKS)
    unknown = sorted(set(chosen) - set(BENCHMARKS))
    if unknown:
        raise typer.BadParameter(f"{', '.join(unknown)}, allowed: {', '.join(BENCHMARKS)}", param_hint="--only")
    prepare_environment()
    try:
        figures = run(chosen, rounds, demo, out, scale, console)
    except PolytaskError as error:
        console.print(f"[red]error:[/] {error}")
        raise typer.Exit(1) from error
    print_table(console, figures)
    console.print(f"wrote {out}")


def run(chosen: list[str], rounds: int, demo: Path, out: Path, scale: float, console: Console) -> list[Figure]:
    """Run the benchmarks named in `chosen`; what each found is written before the next one starts."""
    figures: list[Figure] = []
    load = round(os.getloadavg()[0], 2)
    if load > BUSY_LOAD:
        # Among others, several processes get more of the cores than one: that favours the servers in throughput.
        console.print(f"[yellow]other programs are busy (load {load}): figures of throughput are not to be trusted[/]")
    with Workbench(
        demo / "published" / "current",
        demo / "feature_store",
        out.with_suffix(""),
        checkpoint=checkpoint_of(demo),
        scale=scale,
    ) as bench:
        for name in (one for one in BENCHMARKS if one in chosen):
            start = datetime.now(UTC)
            found = import_module(f"benchmarks.{name}").measure(bench, rounds)
            write_json(out, found, machine(start, scale, load))
            figures += found
            console.print(f"[green]✓[/] {name}: {(datetime.now(UTC) - start).total_seconds():.0f} s")
    return figures


def checkpoint_of(demo: Path) -> Path | None:
    """The trained model of the demo's live version; None where there is none."""
    files = VersionFiles(demo / "published")
    live = files.current()
    return None if live is None else files.checkpoint(live)


def machine(start: datetime, scale: float, load: float) -> dict[str, Any]:
    """Where and when a figure was measured, and how many programs wanted a core just before the benchmarks began."""
    model = next(
        (line.partition(":")[2].strip() for line in _cpu() if line.startswith("model name")), platform.processor()
    )
    return {
        "at": start.isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "load_before": load,
        "scale": scale,
    }


def _cpu() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


if __name__ == "__main__":
    typer.run(main)
