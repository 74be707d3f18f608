"""`polytask evaluate`: what it writes and prints, with the first steps of the chain taken as done."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from pipelines.commands.evaluate import evaluate
from pipelines.local_runner.prepare import PreparedData
from polytask.data.tables import Tables, write_tables
from polytask.errors import DataError
from polytask.scenario import Scenario
from tests.small import training_frame


def run(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def evaluated(
    small_scenario_file: Path, small_scenario: Scenario, tables: Tables, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Result, Path]:
    folder = tmp_path_factory.mktemp("evaluate")
    write_tables(tables, folder / "tables")
    training_frame(small_scenario, tables).to_parquet(folder / "training_set.parquet")
    with pytest.MonkeyPatch.context() as patch:
        inputs = PreparedData(folder / "tables", folder / "training_set.parquet")
        patch.setattr("pipelines.local_runner.prepare.prepared", lambda *_: inputs)
        output = folder / "eval"
        result = run(
            *("--scenario", str(small_scenario_file), "--seeds", "2", "--no-ablations"),
            *("--report", "--output", str(output)),
        )
    return result, output


def test_it_writes_metrics_and_report(evaluated: tuple[Result, Path]) -> None:
    result, output = evaluated
    assert result.exit_code == 0, result.output
    metrics = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["scenario"] == "small"
    assert metrics["seeds"] == [3, 4]
    assert set(metrics["test"]["metrics"]["item"]["ndcg@10"]) == {"mean", "seeds", "interval"}
    assert metrics["test"]["baselines"]["item"]["markov"]["ndcg@10"]["mean"] > 0
    assert metrics["ablations"] == {}
    assert {"prepare", "train", "baselines", "total"} <= set(metrics["seconds"])
    assert (output / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert {path.name for path in output.iterdir()} >= {"seed-3", "seed-4", "metrics.json", "report.html"}


def test_it_prints_tables_with_verdicts_and_queries(evaluated: tuple[Result, Path]) -> None:
    output = evaluated[0].output
    for words in (
        "Next (item): test, mean of 2 seeds",
        "ndcg@10 against markov",
        "something to laugh about",
        "seed-3: ",
    ):
        assert words in output


def test_a_previous_model_that_is_not_there_is_an_error(small_scenario_file: Path, tmp_path: Path) -> None:
    result = run("--scenario", str(small_scenario_file), "--previous", str(tmp_path / "nothing"))
    assert isinstance(result.exception, DataError)
    assert "--previous" in str(result.exception)
