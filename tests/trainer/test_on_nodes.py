"""From the train step to its model through a TrainJob: made, carried out, found again, replaced, deleted."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from polytask.data.tables import Tables, write_tables
from polytask.errors import TrainingError
from polytask.jobs.exchange import Exchange, Inputs
from polytask.jobs.train import train_model
from polytask.jobs.updates import calibrate_job
from polytask.scenario import Scenario
from polytask.training.checkpoint import HISTORY_FILE, WEIGHTS_FILE
from serving.kubernetes.client import Cluster
from tests.polytask.tiny_language_models import write_language_model
from tests.small import training_frame
from tests.trainer.api_server import Job, State, pod
from trainer.errors import JobFailed, Stopped
from trainer.on_nodes import own_namespace, train_on_nodes
from trainer.train_job import Nodes


@pytest.fixture
def real(small_scenario: Scenario, tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inputs:
    """A training of a second, without dropout: there processes draw numbers of their own."""
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    content = small_scenario.model_dump()
    content["encoder"] = {"model": str(write_language_model(tmp_path / "llama", "llama")), "pooling": "last"}
    content["model"] |= {"dropout": 0.0, "id_dropout": 0.0}
    write_tables(tables, tmp_path / "tables")
    scenario = Scenario.model_validate(content)
    training_frame(scenario, tables).to_parquet(tmp_path / "rows.parquet")
    return Inputs(scenario, tmp_path / "tables", tmp_path / "rows.parquet")


class Machines:
    """Carries a TrainJob out as Kubeflow's torch runtime does: the command on every node, who is who in variables."""

    def __init__(self, state: State, folder: Path) -> None:
        self.state, self.folder = state, folder

    def __call__(self, job: Job) -> None:
        trainer = job["spec"]["trainer"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        given = {one["name"]: one["value"] for one in trainer["env"] if "value" in one}
        machines = []
        for rank in range(trainer["numNodes"]):
            of_torchrun = {
                "PET_NNODES": str(trainer["numNodes"]),
                "PET_NPROC_PER_NODE": str(trainer["numProcPerNode"]),
                "PET_NODE_RANK": str(rank),
                "PET_MASTER_ADDR": "127.0.0.1",
                "PET_MASTER_PORT": str(port),
                "POLYTASK_CACHE": str(self.folder / f"cache{rank}"),
                "TMPDIR": str(self.folder),
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            }
            machines.append(
                subprocess.Popen(
                    [*trainer["command"], *trainer["args"]],
                    env={**os.environ, **given, **of_torchrun},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        logged = [machine.communicate(timeout=120)[0] for machine in machines]
        with self.state.lock:
            self.state.pods = [pod(rank) for rank in range(len(logged))]
            for rank, text in enumerate(logged):
                stamped = [f"2026-11-24T10:00:00.{n:06}Z {line}" for n, line in enumerate(text.splitlines(), 1)]
                self.state.logs[f"node-0-{rank}"] = "\n".join(stamped)
        codes = [machine.returncode for machine in machines]
        self.state.log(job["metadata"]["name"], "Failed" if any(codes) else "Complete", f"ended with {codes}")


def test_two_nodes_train_the_model_of_one(
    real: Inputs, nodes: Nodes, state: State, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "machines").mkdir()
    state.controller = Machines(state, tmp_path / "machines")
    logged: list[str] = []
    settings = {"shared_storage": str(tmp_path / "exchange"), "hours": 0.05, "poll_seconds": 0.05, "cluster": cluster}
    result = train_on_nodes(nodes, real, tmp_path / "together" / "model", logged.append, **settings)
    assert sum("epoch 2/2" in line for line in logged) == 1
    train_model(real.scenario, real.tables, real.training_set, tmp_path / "alone" / "model", lambda line: None)
    calibrate_job(real.scenario, real.tables, real.training_set, tmp_path / "alone" / "model", lambda line: None)
    one, two = tmp_path / "alone" / "model", tmp_path / "together" / "model"
    assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
    losses = [json.loads((folder / HISTORY_FILE).read_text())["epochs"][-1]["losses"] for folder in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert {name: result[f"{name}_loss"] for name in losses[1]} == losses[1]
    assert load_file(two / WEIGHTS_FILE).keys() == load_file(one / WEIGHTS_FILE).keys()
    (name,) = state.made()
    assert (
        tmp_path / "exchange" / name / "state" / "small.resume.safetensors"
    ).is_file()  # for a job that is restarted

    again = train_on_nodes(nodes, real, tmp_path / "again", logged.append, **settings)
    assert again == result
    assert (tmp_path / "again" / WEIGHTS_FILE).read_bytes() == (two / WEIGHTS_FILE).read_bytes()
    assert state.made() == [name]  # and no second TrainJob


class Step:
    """The train step on inputs that nothing reads; `finished` is what nodes leave that train in no time."""

    def __init__(self, nodes: Nodes, inputs: Inputs, cluster: Cluster, folder: Path) -> None:
        self.nodes, self.inputs, self.cluster, self.folder = nodes, inputs, cluster, folder
        self.logged: list[str] = []

    def run(self, hours: float = 1.0, **changed: Any) -> dict[str, str | float]:
        settings = {"shared_storage": str(self.folder / "exchange"), "cluster": self.cluster, "poll_seconds": 0.005}
        settings |= changed
        return train_on_nodes(
            self.nodes, self.inputs, self.folder / "model", self.logged.append, hours=hours, **settings
        )

    def finish(self, job: Job) -> None:
        model = self.folder / "made"
        model.mkdir(exist_ok=True)
        (model / "model.safetensors").write_bytes(b"weights")
        Exchange(job["spec"]["trainer"]["args"][0]).put_model(model, {"item_loss": 0.5})


@pytest.fixture
def step(nodes: Nodes, inputs: Inputs, cluster: Cluster, tmp_path: Path) -> Step:
    return Step(nodes, inputs, cluster, tmp_path)


def complete(state: State, step: Step) -> None:
    def controller(job: Job) -> None:
        step.finish(job)
        state.log(job["metadata"]["name"], "Complete", "")

    state.controller = controller


def test_a_failed_job_stays_and_is_replaced_by_the_next_run(state: State, step: Step) -> None:
    state.controller = lambda job: state.log(job["metadata"]["name"], "Failed", "out of memory")
    with pytest.raises(JobFailed, match="out of memory"):
        step.run()
    (name,) = state.jobs
    assert state.deleted() == []
    assert not (step.folder / "model").exists()
    state.lingers = 2
    complete(state, step)
    assert step.run() == {"item_loss": 0.5}
    assert (state.made(), state.deleted()) == ([name, name], [name])
    assert (step.folder / "model" / "model.safetensors").read_bytes() == b"weights"


def test_a_finished_training_is_taken_without_a_cluster(state: State, step: Step) -> None:
    complete(state, step)
    step.run()
    state.calls.clear()
    (step.folder / "model" / "model.safetensors").unlink()
    assert step.run() == {"item_loss": 0.5}
    assert (step.folder / "model" / "model.safetensors").read_bytes() == b"weights"
    assert state.calls == []


def test_a_job_that_is_being_deleted_is_not_followed(state: State, step: Step) -> None:
    with pytest.raises(TrainingError, match="not complete"):
        state.lingers = 9
        step.run(hours=0.05 / 3600)
    (name,) = state.jobs
    complete(state, step)
    assert step.run() == {"item_loss": 0.5}
    assert state.made() == [name, name]


def test_a_running_job_is_followed_and_not_made_again(state: State, step: Step) -> None:
    made = threading.Event()
    state.controller = lambda job: made.set()
    other = threading.Thread(target=step.run)
    other.start()
    assert made.wait(10)
    (name,) = state.jobs
    step.logged.clear()
    threading.Timer(0.1, lambda: (step.finish(state.jobs[name]), state.log(name, "Complete", ""))).start()
    assert step.run() == {"item_loss": 0.5}
    other.join(10)
    assert any("was there, and is followed" in line for line in step.logged)
    assert (state.made(), state.deleted()) == ([name], [])


def test_a_job_that_takes_too_long_is_deleted(state: State, step: Step) -> None:
    with pytest.raises(TrainingError, match=r"not complete within 0\.0\d+ s"):
        step.run(hours=0.05 / 3600)
    assert state.deleted() == state.made()
    assert state.jobs == {}


def test_a_cancelled_step_deletes_its_job(state: State, step: Step) -> None:
    state.controller = lambda job: os.kill(os.getpid(), signal.SIGTERM)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Stopped) as stopped:
        step.run()
    assert stopped.value.code == 143
    assert state.deleted() == state.made() != []
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_model_that_is_not_what_was_written_is_trained_anew(state: State, step: Step) -> None:
    complete(state, step)
    step.run()
    (name,) = state.jobs
    stored = step.folder / "exchange" / name / "model" / "model.safetensors"
    stored.write_bytes(b"damaged")
    (step.folder / "model" / "model.safetensors").unlink()
    assert step.run() == {"item_loss": 0.5}
    assert any("has SHA-256" in line and line.endswith("training again") for line in step.logged)
    assert state.made() == [name, name]
    state.controller = lambda job: state.log(name, "Complete", "")  # and leaves it as it is
    stored.write_bytes(b"damaged")
    with pytest.raises(TrainingError, match=r"model\.safetensors: has SHA-256"):
        step.run()


def test_a_job_without_a_model_is_no_success(state: State, step: Step) -> None:
    state.controller = lambda job: state.log(job["metadata"]["name"], "Complete", "")
    with pytest.raises(TrainingError, match=r"is complete, but .*/exchange/train-small-\w+ has no model"):
        step.run()


@pytest.mark.parametrize("closed", ["trainjobs", "kind"])
def test_a_cluster_that_refuses_says_what_is_missing(state: State, step: Step, closed: str) -> None:
    state.forbidden = {closed}
    with pytest.raises(TrainingError, match=r"TrainJob .* in test: 40\d: .*Kubeflow Trainer 2\.2.*components/training"):
        step.run()


def test_a_place_to_meet_and_a_namespace_are_needed(step: Step, state: State) -> None:
    with pytest.raises(TrainingError, match="shared_storage: is empty; allowed: s3://"):
        step.run(shared_storage="")
    assert state.calls == []
    with pytest.raises(TrainingError, match="training_namespace: is empty"):
        own_namespace()
    with pytest.raises(TrainingError, match="training_namespace: is empty"):
        step.run(cluster=None)
    assert not list((step.folder / "exchange").glob("*/*"))  # checked before anything is sent
