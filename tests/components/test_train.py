"""The train step trains on its own or on other machines, depending on `num_nodes`; both write one model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.image import IMAGE
from components.train import train
from polytask.jobs import launch, updates
from polytask.jobs import train as train_job
from polytask.registry.lineage import data_checksum
from polytask.scenario import load_scenario
from serving.kubernetes import client as cluster
from trainer import on_nodes


@pytest.fixture
def arguments(small_scenario_file: Path, tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "mine.yaml"
    wanted = "resources: {training: {timeout_hours: 3}, node: {cpu: '7', memory: 9Gi, timeout_hours: 5}}\n"
    file.write_text(small_scenario_file.read_text(encoding="utf-8") + wanted, encoding="utf-8")
    (tmp_path / "tables").mkdir()
    (tmp_path / "rows").write_bytes(b"rows")
    artifacts = {name: SimpleNamespace(path=str(tmp_path / name)) for name in ("tables", "model")}
    artifacts["training_set"] = SimpleNamespace(path=str(tmp_path / "rows"))
    artifacts["model"].metadata = {}
    return {"scenario": str(file), "code_version": "1", **artifacts}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which way was taken, in place of a training; a cluster is not to be reached."""
    made: list[str] = []

    def way(name: str) -> Any:
        return lambda *_, **__: made.append(name) or {"item_loss": 0.5}

    monkeypatch.setattr(train_job, "train_model", way("alone"))
    monkeypatch.setattr(launch, "train_together", way("together"))
    monkeypatch.setattr(updates, "calibrate_job", way("calibrated"))
    monkeypatch.setattr(cluster, "connect", way("cluster"))
    monkeypatch.setattr(on_nodes, "connect", way("cluster"))
    return made


@pytest.mark.parametrize(("nproc_per_node", "way"), [(1, "alone"), (2, "together")])
def test_one_machine_asks_no_cluster(
    arguments: dict[str, Any], calls: list[str], nproc_per_node: int, way: str
) -> None:
    train.python_func(**arguments, nproc_per_node=nproc_per_node)
    assert calls == [way, "calibrated"]
    assert arguments["model"].metadata["item_loss"] == 0.5


def test_a_stop_while_new_items_are_calibrated_loses_no_training(
    arguments: dict[str, Any], calls: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    state = train_job.state_file(load_scenario(arguments["scenario"]), tmp_path)

    def train_model(*_: Any, keep_state: bool = False) -> dict[str, float]:
        state.write_bytes(b"of the last epoch")
        if not keep_state:
            state.unlink()
        return {"item_loss": 0.5}

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train_job, "train_model", train_model)
    calibrate = updates.calibrate_job
    monkeypatch.setattr(updates, "calibrate_job", stopped)
    with pytest.raises(KeyboardInterrupt):
        train.python_func(**arguments, checkpoint_dir=str(tmp_path))
    assert state.is_file()
    monkeypatch.setattr(updates, "calibrate_job", calibrate)
    train.python_func(**arguments, checkpoint_dir=str(tmp_path))
    assert not state.exists()


def test_several_machines_get_what_the_parameters_and_the_scenario_say(
    arguments: dict[str, Any], calls: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    requested: dict[str, Any] = {}

    def record(nodes: Any, inputs: Any, target: Path, log: Any, **settings: Any) -> dict[str, float]:
        requested.update(nodes=nodes, inputs=inputs, target=target, **settings)
        return {"item_loss": 0.25}

    monkeypatch.setattr(on_nodes, "train_on_nodes", record)
    train.python_func(
        **arguments,
        num_nodes=3,
        nproc_per_node=2,
        shared_storage="s3://b/t",
        training_runtime="mine",
        training_namespace="team",
    )
    nodes = requested["nodes"]
    assert (nodes.count, nodes.nproc_per_node, nodes.image, nodes.runtime) == (3, 2, IMAGE, "mine")
    assert (nodes.resources.cpu, nodes.resources.memory) == ("7", "9Gi")
    assert (requested["shared_storage"], requested["namespace"], requested["hours"]) == ("s3://b/t", "team", 3)
    assert (requested["inputs"].tables, requested["inputs"].training_set) == (tmp_path / "tables", tmp_path / "rows")
    assert requested["target"] == tmp_path / "model"
    assert calls == []  # the nodes calibrate
    metadata = arguments["model"].metadata
    assert metadata["item_loss"] == 0.25
    assert metadata["lineage"]["data_sha256"] == data_checksum(tmp_path / "rows")
