from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import typer
from typer.testing import CliRunner

from benchmarks.__main__ import BENCHMARKS, checkpoint_of, machine, main

app = typer.Typer()
app.command()(main)


def test_an_unknown_benchmark_is_refused_with_those_there_are() -> None:
    result = CliRunner().invoke(app, ["--only", "speed"])
    assert result.exit_code == 2 and "online_vs_ort" in result.output


def test_without_a_demo_it_says_what_to_run(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--demo", str(tmp_path / "none"), "--out", str(tmp_path / "bench.json")])
    assert result.exit_code == 1 and "run `make demo` first" in " ".join(result.output.split())
    assert not (tmp_path / "bench.json").exists()


def test_every_benchmark_measures() -> None:
    assert all(callable(import_module(f"benchmarks.{name}").measure) for name in BENCHMARKS)


def test_the_checkpoint_is_that_of_the_live_version(tmp_path: Path) -> None:
    assert checkpoint_of(tmp_path) is None
    published = tmp_path / "published"
    for version in ("1", "2"):
        (published / "checkpoints" / version).mkdir(parents=True)
    (published / "current").symlink_to("1")
    assert checkpoint_of(tmp_path) == published / "checkpoints" / "1"


def test_a_figure_says_how_busy_the_machine_was() -> None:
    found = machine(datetime(2026, 1, 2, tzinfo=UTC), 0.5, 3.25)
    assert (found["at"], found["scale"], found["load_before"]) == ("2026-01-02T00:00:00+00:00", 0.5, 3.25)
    assert found["cores"] >= 1
