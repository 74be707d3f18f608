"""The model-update benchmark: every step on few events, in this process."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.growth import __main__ as main
from benchmarks.growth import steps
from benchmarks.growth.__main__ import ONCE, StepKilled, grow
from polytask.data.tables import table_file


class Pretended:
    """Measures of a machine that is known: the joins take longer from round to round, `end` comes at 3,000 events."""

    def __init__(self, end=KeyboardInterrupt, at="ingest") -> None:
        self.end, self.at = end, at
        self.calls: list[str] = []
        steps = (*ONCE, "join", "plain_asof", "epoch")
        self.seconds = dict(zip(steps, (1.0, 2.0, 4.0, 6.0, 3.0, 9.0), strict=True))

    def __call__(self, step, folder):
        self.calls.append(step)
        events = json.loads((folder / "scenario.json").read_text())["source"]["path"]
        rows = pq.read_metadata(table_file(Path(events), "interactions")).num_rows
        if rows == 3000 and step == self.at:
            raise self.end
        again = 1 if step in ONCE else 1 + self.calls.count(step) ** 2
        seconds = self.seconds[step] * again
        found = {"seconds": seconds, "peak_gib": self.seconds[step] / 2, "epoch_seconds": 9.0, "batches": 3}
        return {**found, "process_seconds": seconds + 10} if step in ONCE else found


def test_a_size_is_summed_up_and_kept_before_the_next_begins(tmp_path):
    pretended, logged = Pretended(), []
    with pytest.raises(KeyboardInterrupt):
        grow([2000, 3000], 3, tmp_path / "sizes.json", logged.append, pretended)
    size = json.loads((tmp_path / "sizes.json").read_text())["sizes"]["2000"]
    assert size["step_seconds"] == 1 + 2 + 4 + 30  # with the imports
    assert size["peak_gib"] == 2.0  # of the steps of a pipeline, not of the joins
    assert size["join_over_plain_asof"] == 6.0 * 5 / (3.0 * 5)  # medians of three
    assert any(line.startswith("2,000 events: 37 s (bar 300") for line in logged)
    assert pretended.calls[:3] == list(ONCE)
    joins = [step for step in pretended.calls[:-1] if step in ("join", "plain_asof")]
    assert {frozenset(joins[n : n + 2]) for n in range(0, 6, 2)} == {frozenset(("join", "plain_asof"))}  # in turn


@pytest.mark.parametrize(("at", "known"), [("features", ["ingest"]), ("epoch", [*ONCE, "step_seconds", "peak_gib"])])
def test_what_ran_before_a_killed_step_is_kept_and_other_sizes_follow(tmp_path, at, known):
    logged: list[str] = []
    pretended = Pretended(StepKilled(f"{at} was ended by SIGKILL"), at)
    grow([3000, 2000], 1, tmp_path / "sizes.json", logged.append, pretended)
    sizes = json.loads((tmp_path / "sizes.json").read_text())["sizes"]
    assert sizes["3000"]["killed"] == f"{at} was ended by SIGKILL"
    assert set(known) <= set(sizes["3000"]) and at not in sizes["3000"]
    assert "epoch" in sizes["2000"]
    assert f"3,000 events: {at} was ended by SIGKILL" in "".join(logged)


def test_a_process_that_is_killed_is_told_from_one_that_fails(tmp_path, monkeypatch):
    for ends, error in (("os.kill(os.getpid(), 9)", StepKilled), ("sys.exit(3)", subprocess.CalledProcessError)):
        program = tmp_path / f"{error.__name__}.sh"
        program.write_text(f"#!{sys.executable}\nimport os, sys\n{ends}\n")
        program.chmod(0o755)
        monkeypatch.setattr(main.sys, "executable", str(program))
        with pytest.raises(error, match="SIGKILL" if error is StepKilled else "exit status 3"):
            main.in_own_process("epoch", tmp_path)
        monkeypatch.undo()


def test_a_step_in_its_own_process_counts_its_imports(tmp_path, monkeypatch):
    def run(command, **settings):
        assert command[1:] == ["-m", "benchmarks.growth.steps", "ingest", str(tmp_path)]
        assert settings["timeout"] > 0
        time.sleep(0.05)
        return subprocess.CompletedProcess(command, 0, 'progress\n{"seconds": 0.01}\n')

    monkeypatch.setattr(main.subprocess, "run", run)
    found = main.in_own_process("ingest", tmp_path)
    assert found["seconds"] == 0.01
    assert found["process_seconds"] >= 0.05


def test_every_step_is_measured_and_written(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "BATCHES", 1)
    monkeypatch.setattr(steps, "ROWS_PER_JOIN", 1500)
    logged: list[str] = []
    found = grow([2000], 2, tmp_path / "sizes.json", logged.append, steps.measured)
    size = found["sizes"]["2000"]
    assert json.loads((tmp_path / "sizes.json").read_text())["sizes"] == found["sizes"]
    assert "<svg" in (tmp_path / "sizes.svg").read_text()
    assert size["ingest"]["rows"] > 1900
    for step in ("join", "plain_asof"):
        assert [one["rows"] for one in size[step]] == [size["ingest"]["rows"]] * 2
    assert size["epoch"]["epoch_seconds"] == pytest.approx(
        size["epoch"]["batch_seconds"] * size["epoch"]["batches"], rel=0.1, abs=0.1
    )
    assert any("times a plain ASOF join" in line for line in logged)
