"""A node brings the state of each epoch to the place, and another one goes on from there."""

import shutil
import tempfile
from pathlib import Path

import pytest

from polytask import node
from polytask.exchange import Exchange, Inputs
from polytask.jobs import train_model
from polytask.scenario import Scenario
from polytask.tables import Tables, write_tables
from tests.polytask.tiny_language_models import write_language_model
from tests.small import training_frame


def test_a_new_node_goes_on_where_another_was_killed(
    small_scenario: Scenario,
    tables: Tables,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = small_scenario.model_dump()
    content["encoder"] = {"model": str(write_language_model(tmp_path / "llama", "llama")), "pooling": "last"}
    scenario = Scenario.model_validate(content)
    write_tables(tables, tmp_path / "tables")
    training_frame(scenario, tables).to_parquet(tmp_path / "rows.parquet")
    place = Exchange(str(tmp_path / "place"))
    files = tmp_path / "tables", tmp_path / "rows.parquet"
    place.put_inputs(Inputs(scenario, *files))
    (tmp_path / "node").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "node"))
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    put_state = Exchange.put_state

    def killed(exchange: Exchange, path: Path) -> None:
        put_state(exchange, path)
        raise KeyboardInterrupt

    monkeypatch.setattr(Exchange, "put_state", killed)
    with pytest.raises(KeyboardInterrupt):
        node.main(place.address)
    assert place.fetch_model(tmp_path / "model") is None
    shutil.rmtree(tmp_path / "node" / "place-0")  # another machine has nothing of it
    monkeypatch.setattr(Exchange, "put_state", put_state)
    node.main(place.address)
    said = capsys.readouterr().out
    assert "resumed after epoch 1" in said
    assert said.count("epoch 1/2") == 0
    assert said.count("epoch 2/2") == 1
    came_to = place.fetch_model(tmp_path / "model")
    assert "trained in " in said
    # Neither the interruption nor the time that it took is in what the model artifact says of itself.
    assert came_to == train_model(scenario, *files, tmp_path / "alone" / "model", lambda line: None)
    assert (tmp_path / "model" / "cold_start.safetensors").is_file()
