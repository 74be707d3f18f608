"""Files that nodes exchange arrive complete and unchanged, or not at all, in a folder and in object storage."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from polytask.errors import TrainingError
from polytask.jobs.exchange import Exchange, Inputs
from polytask.scenario import Scenario
from tests.serving.rollout.object_store import ObjectStore, storing


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with storing(monkeypatch) as store:
        yield store


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "folder":
        return str(tmp_path / "exchange" / "train-1")
    request.getfixturevalue("object_store")
    return "s3://bucket/training/train-1"


@pytest.fixture
def inputs(small_scenario: Scenario, tmp_path: Path) -> Inputs:
    (tmp_path / "tables" / "deep").mkdir(parents=True)
    (tmp_path / "tables" / "users.parquet").write_bytes(b"users")
    (tmp_path / "tables" / "deep" / "items.parquet").write_bytes(b"items")
    (tmp_path / "rows").write_bytes(b"rows" * 1000)
    return Inputs(small_scenario, tmp_path / "tables", tmp_path / "rows")


def test_inputs_arrive_as_they_were_sent(place: str, inputs: Inputs, tmp_path: Path) -> None:
    sent = Exchange(place)
    assert sent.put_inputs(inputs) == 4
    assert sent.put_inputs(inputs) == 0
    fetched = Exchange(place).fetch_inputs(tmp_path / "there")
    assert fetched.content() == inputs.content()
    assert fetched.training_set.read_bytes() == b"rows" * 1000
    fetched.training_set.write_bytes(b"half")
    assert Exchange(place).fetch_inputs(tmp_path / "there").training_set.read_bytes() == b"rows" * 1000


def test_the_model_and_the_state_come_back(place: str, tmp_path: Path) -> None:
    exchange, state = Exchange(place), tmp_path / "small.resume.safetensors"
    assert exchange.fetch_model(tmp_path / "model") is None
    assert not exchange.fetch_state(state)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "weights").write_bytes(b"1" * 99)
    state.write_bytes(b"epoch 1")
    exchange.put_state(state)
    state.write_bytes(b"epoch 2")
    exchange.put_state(state)
    state.unlink()
    assert exchange.fetch_state(state)
    assert state.read_bytes() == b"epoch 2"
    exchange.put_model(tmp_path / "made", {"item_loss": 0.25})
    assert exchange.fetch_model(tmp_path / "model") == {"item_loss": 0.25}
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["weights"]
    assert (tmp_path / "model" / "weights").read_bytes() == b"1" * 99


def test_equal_inputs_have_equal_content(inputs: Inputs) -> None:
    before = inputs.content()
    assert before == inputs.content()
    (inputs.tables / "deep" / "items.parquet").write_bytes(b"others")
    assert before != inputs.content()


def test_what_was_damaged_or_cut_off_is_refused(inputs: Inputs, tmp_path: Path, object_store: ObjectStore) -> None:
    exchange = Exchange("s3://bucket/t")
    with pytest.raises(TrainingError, match=r"s3://bucket/t/job\.json: is missing"):
        exchange.fetch_inputs(tmp_path / "there")
    object_store.damaged = "rows"
    object_store.damaged = "training_set"
    with pytest.raises(TrainingError, match="training_set: reads back with SHA-256"):
        exchange.put_inputs(inputs)
    assert "bucket/t/job.json" not in object_store.objects  # who finds it finds everything
    object_store.damaged = ""
    exchange.put_inputs(inputs)
    object_store.objects["bucket/t/tables/users.parquet"] = b"else"
    with pytest.raises(TrainingError, match=r"s3://bucket/t/tables/users\.parquet: has SHA-256"):
        exchange.fetch_inputs(tmp_path / "there")
    object_store.objects["bucket/t/job.json"] = json.dumps({"scenario": {}, "files": {"../x": "1"}}).encode()
    with pytest.raises(TrainingError, match=r"names the file '\.\./x'"):
        exchange.fetch_inputs(tmp_path / "there")
    object_store.refuses = True
    with pytest.raises(TrainingError, match=r"^s3://bucket/t: .*ACCESS_DENIED.*; allowed: a folder or object storage"):
        exchange.fetch_inputs(tmp_path / "there")
