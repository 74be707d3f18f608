"""`prepared`: the first steps alone, and that a second call, or the demo, takes them from the same cache."""

import io
from pathlib import Path

import pandas as pd
from rich.console import Console

from pipelines.local_runner.prepare import prepared
from polytask.data.tables import read_tables


def test_the_first_steps_run_once(small_scenario_file: Path, tmp_path: Path) -> None:
    first = prepared(small_scenario_file, tmp_path, Console(file=io.StringIO()))
    assert len(pd.read_parquet(first.training_set)) == len(read_tables(first.tables).interactions)

    output = io.StringIO()
    assert prepared(small_scenario_file, tmp_path, Console(file=output)) == first
    assert output.getvalue().count("reused from an earlier run") == 2
