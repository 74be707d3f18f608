"""An interrupted training goes on to the very weights it would have reached, never from another's state."""

import signal
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open

from polytask.data.tables import write_tables
from polytask.jobs.train import train_model
from polytask.scenario import load_scenario
from polytask.training.checkpoint import checkpoint_sha256
from polytask.training.loop import train
from polytask.training.resume import TrainingState, training_key
from tests.polytask.random_vectors import ITEM_VECTORS, dataset_with
from tests.small import training_frame


class Stopped(Exception):
    pass


def stop_after(number):
    def on_epoch(epoch):
        if epoch.number == number:
            raise Stopped

    return on_epoch


@pytest.fixture(params=["static", "uncertainty", "dwa"])
def dataset(request, small_dataset, tables):
    return dataset_with(small_dataset, tables, epochs=4, loss_weighting=request.param)


@pytest.fixture
def logged():
    return []


@pytest.fixture
def interrupted(dataset, tmp_path, logged):
    """The state of a training that an error stopped after two of four epochs."""
    resume = TrainingState(tmp_path / "state.safetensors", "key", logged.append)
    with pytest.raises(Stopped):
        train(dataset, ITEM_VECTORS, stop_after(2), resume)
    return resume


def same_weights(one, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_resumed_training_reaches_the_same_weights(dataset, interrupted, logged):
    whole, history = train(dataset, ITEM_VECTORS)
    epochs = []
    torch.rand(7)  # the generators' state after the interruption is anything
    resumed, resumed_history = train(dataset, ITEM_VECTORS, epochs.append, interrupted)
    assert [epoch.number for epoch in epochs] == [3, 4]
    assert same_weights(whole, resumed)
    for field in ("losses", "weights"):
        assert [getattr(e, field) for e in resumed_history] == [getattr(e, field) for e in history]
    assert logged == [f"resumed after epoch 2 from {interrupted.path}"]


def test_state_of_another_training_is_left_alone(dataset, interrupted, logged):
    resume = TrainingState(interrupted.path, "another key", logged.append)
    epochs = []
    model, _ = train(dataset, ITEM_VECTORS, epochs.append, resume)
    assert len(epochs) == 4
    assert same_weights(model, train(dataset, ITEM_VECTORS)[0])
    assert "belongs to a different run (key key-1, not another key-" in logged[0]


def test_a_part_of_a_state_is_not_resumed_from(dataset, interrupted, logged):
    whole = interrupted.path.read_bytes()
    interrupted.path.write_bytes(whole[: len(whole) // 2])
    epochs = []
    train(dataset, ITEM_VECTORS, epochs.append, interrupted)
    assert len(epochs) == 4
    assert "is no resume state" in logged[0]


def test_state_is_one_safetensors_file(interrupted):
    assert [path.name for path in interrupted.path.parent.iterdir()] == [interrupted.path.name]
    with safe_open(interrupted.path, framework="pt") as file:
        names = set(file.keys())
    assert {"weights.model.user_table.weight", "optimizer.0.exp_avg", "random_states"} <= names


def test_key_knows_every_input():
    assert training_key("a", "b") == training_key("a", "b") != training_key("a", "c")


KILLED = """
import os, signal, sys
from pathlib import Path
from polytask.jobs.train import train_model
from polytask.scenario import load_scenario

def log(line):
    if line.startswith("epoch 2/4"):
        os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
train_model(
    load_scenario(folder / "four.yaml"), folder / "tables", folder / "rows.parquet", folder / "killed" / "model", log
)
"""


@pytest.fixture
def inputs(small_scenario_file, small_scenario, tables, tmp_path):
    """Scenario file (four epochs), tables and training set as the pipeline's steps leave them."""
    text = small_scenario_file.read_text(encoding="utf-8").replace("epochs: 2", "epochs: 4")
    (tmp_path / "four.yaml").write_text(text, encoding="utf-8")
    write_tables(tables, tmp_path / "tables")
    training_frame(small_scenario, tables).to_parquet(tmp_path / "rows.parquet")
    return load_scenario(tmp_path / "four.yaml"), tmp_path / "tables", tmp_path / "rows.parquet"


def test_killed_job_goes_on_and_removes_its_state(inputs, tmp_path):
    train_model(*inputs, tmp_path / "whole" / "model", lambda line: None)
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    target, logged = tmp_path / "killed" / "model", []
    assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["small.resume.safetensors"]
    train_model(*inputs, target, logged.append)
    assert f"resumed after epoch 2 from {target.parent / 'small.resume.safetensors'}" in logged
    assert checkpoint_sha256(target) == checkpoint_sha256(tmp_path / "whole" / "model")
    assert [path.name for path in target.parent.iterdir()] == ["model"]
