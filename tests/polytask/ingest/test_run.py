"""Ingest as a whole: files, report, determinism, and a run that is killed."""

import signal
import subprocess
import sys
import textwrap

import pandas as pd
import pytest

from polytask.data.tables import read_tables
from polytask.errors import DataError
from polytask.ingest import ingest, read_report
from polytask.ingest.user_tables import read_table
from polytask.scenario import load_scenario
from tests.small import write_small_scenario

NAMES = ("users", "items", "interactions")


def test_csv_becomes_the_tables_that_it_was_made_of(small_scenario, tables, tmp_path):
    report = ingest(small_scenario, tmp_path / "out")
    in_file_order = tables._replace(interactions=tables.interactions.assign(event_id=range(len(tables.interactions))))
    for written, expected in zip(read_tables(tmp_path / "out"), in_file_order, strict=True):
        if "genres" in written:
            written["genres"] = written["genres"].map(list)
        pd.testing.assert_frame_equal(written, expected)
    assert read_report(tmp_path / "out") == report
    counted = {name: (report.tables[name].rows_in, report.tables[name].rows_out) for name in NAMES}
    assert counted == {name: (len(table), len(table)) for name, table in zip(NAMES, tables, strict=True)}
    assert report.first_event == tables.interactions["timestamp"].min().isoformat()


def test_parquet_gives_the_same_tables_as_csv(small_scenario, tables, tmp_path):
    for name, table in zip(NAMES, tables, strict=True):
        table.drop(columns="event_id", errors="ignore").to_parquet(tmp_path / f"{name}.parquet")
    source = small_scenario.source.model_copy(update={"path": str(tmp_path)})
    from_csv = ingest(small_scenario, tmp_path / "csv")
    from_parquet = ingest(small_scenario.model_copy(update={"source": source}), tmp_path / "parquet")
    assert from_csv == from_parquet


def test_two_runs_write_equal_bytes(small_scenario, tmp_path):
    for name in ("one", "two"):
        ingest(small_scenario, tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["interactions.parquet", "items.parquet", "report.json", "users.parquet"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_bad_data_leaves_the_last_good_tables(tmp_path):
    scenario = load_scenario(write_small_scenario(tmp_path))
    good = ingest(scenario, tmp_path / "out")
    users = tmp_path / "users.csv"
    users.write_text(users.read_text().replace("10,", "ten,", 1))
    with pytest.raises(DataError, match="users: 1 of 30 rows are bad"):
        ingest(scenario, tmp_path / "out")
    assert read_report(tmp_path / "out") == good


def test_a_run_killed_while_it_writes_leaves_no_target(small_scenario_file, tmp_path):
    """The process kills itself, as the kernel would, when two of the three tables are written."""
    code = f"""
        import os, signal
        from pathlib import Path
        import pandas as pd
        from polytask.ingest import ingest
        from polytask.scenario import load_scenario

        write = pd.DataFrame.to_parquet
        def write_two(self, path, *args, **kwargs):
            if "interactions.parquet" in Path(path).name:  # under a temporary name
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, path, *args, **kwargs)
        pd.DataFrame.to_parquet = write_two
        ingest(load_scenario({str(small_scenario_file)!r}), Path({str(tmp_path / "out")!r}))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("present", "message"), [((), "neither is there"), (("csv", "parquet"), "both are there")])
def test_a_missing_or_doubled_file_is_named(tmp_path, present, message):
    scenario = load_scenario(write_small_scenario(tmp_path))
    (tmp_path / "items.csv").unlink()
    for suffix in present:
        (tmp_path / f"items.{suffix}").write_text("item_id\n1\n")
    with pytest.raises(DataError, match=f"items: {message}; allowed: one of items.parquet and items.csv"):
        ingest(scenario, tmp_path / "out")


def test_a_file_that_is_no_table_is_named(tmp_path):
    scenario = load_scenario(write_small_scenario(tmp_path))
    (tmp_path / "items.csv").unlink()
    (tmp_path / "items.parquet").write_text("not Parquet")
    with pytest.raises(DataError, match=r"items: .*items\.parquet cannot be read"):
        ingest(scenario, tmp_path / "out")


def test_cells_of_csv_are_text(tmp_path):
    scenario = load_scenario(write_small_scenario(tmp_path))
    items = pd.read_csv(tmp_path / "items.csv", dtype=str)
    items.loc[0, ["title", "genres"]] = ["NA", ""]
    items.to_csv(tmp_path / "items.csv", index=False)
    ingest(scenario, tmp_path / "out")
    first = read_tables(tmp_path / "out").items.iloc[0]
    assert first["title"] == "NA"
    assert list(first["genres"]) == []


def test_an_empty_file_is_told_of(tmp_path):
    (tmp_path / "items.csv").write_text("")
    with pytest.raises(DataError, match=r"items: .*items\.csv is empty; allowed: a line of column names, then rows"):
        read_table(tmp_path / "items.csv", "items", {})


def test_rejected_rows_are_kept_with_the_tables(tmp_path):
    scenario = load_scenario(write_small_scenario(tmp_path))
    users = tmp_path / "users.csv"
    users.write_text(users.read_text().replace("10,", "ten,", 1))
    tolerant = scenario.model_copy(
        update={"data_validation": scenario.data_validation.model_copy(update={"max_bad_share": 0.5})}
    )
    ingest(tolerant, tmp_path / "out")
    path = tmp_path / "out" / "rejected" / "users.csv"
    first, header, row = path.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# This file holds personal data")
    assert header == "row,reason,user_id,age,occupation"
    assert row.startswith("0,user_id: not an integer,ten,")
    assert path.stat().st_mode & 0o077 == 0, "for its owner alone"
    assert (tmp_path / "out" / "rejected" / "interactions.csv").is_file()
    assert not (tmp_path / "out" / "rejected" / "items.csv").exists()
