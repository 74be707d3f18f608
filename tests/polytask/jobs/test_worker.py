"""A node brings the state of each epoch to the place, and another one goes on from there."""

import shutil
import tempfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from polytask.data.tables import Tables, write_tables
from polytask.jobs import train, worker
from polytask.jobs.exchange import Exchange, Inputs
from polytask.jobs.train import train_model
from polytask.scenario import Scenario
from tests.polytask.tiny_language_models import write_language_model
from tests.small import training_frame


def written(small_scenario: Scenario, tables: Tables, folder: Path) -> Inputs:
    """A training of a second."""
    content = small_scenario.model_dump()
    content["encoder"] = {"model": str(write_language_model(folder / "llama", "llama")), "pooling": "last"}
    scenario = Scenario.model_validate(content)
    write_tables(tables, folder / "tables")
    training_frame(scenario, tables).to_parquet(folder / "rows.parquet")
    return Inputs(scenario, folder / "tables", folder / "rows.parquet")


def test_the_state_stays_until_every_process_has_read_it(
    small_scenario: Scenario, tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else keeps them together where the training had ended before it was interrupted."""
    inputs, state = written(small_scenario, tables, tmp_path), tmp_path / "small.resume.safetensors"
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    there: list[bool] = []
    first = SimpleNamespace(
        is_main_process=True,
        local_main_process_first=nullcontext,
        wait_for_everyone=lambda: there.append(state.is_file()),
    )
    monkeypatch.setattr(train, "process_state", lambda: first)
    train_model(inputs.scenario, inputs.tables, inputs.training_set, tmp_path / "model", lambda line: None)
    assert there == [True]
    assert not state.exists()


def test_a_new_node_goes_on_where_another_was_killed(
    small_scenario: Scenario,
    tables: Tables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    inputs, place = written(small_scenario, tables, tmp_path), Exchange(str(tmp_path / "place"))
    place.put_inputs(inputs)
    (tmp_path / "node").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    put_state = Exchange.put_state

    def killed(exchange: Exchange, path: Path) -> None:
        put_state(exchange, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Exchange, "put_state", killed)
    with pytest.raises(KeyboardInterrupt):
        worker.main(place.address)
    assert place.fetch_model(tmp_path / "model") is None
    shutil.rmtree(tmp_path / "node" / "place-0")  # another machine has nothing of it
    monkeypatch.setattr(Exchange, "put_state", put_state)
    worker.main(place.address)
    logged = capsys.readouterr().out
    assert "resumed after epoch 1" in logged
    assert logged.count("epoch 1/2") == 0
    assert logged.count("epoch 2/2") == 1
    result = place.fetch_model(tmp_path / "model")
    assert "trained in " in logged
    # The model artifact records neither the interruption nor the time that it took.
    assert result == train_model(
        inputs.scenario, inputs.tables, inputs.training_set, tmp_path / "alone" / "model", lambda line: None
    )
    assert (tmp_path / "model" / "cold_start.safetensors").is_file()
