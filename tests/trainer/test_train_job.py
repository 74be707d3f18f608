"""The TrainJob has the requested values, Kubeflow's models know all its fields, and equal inputs give an equal name."""

import re
from dataclasses import replace
from typing import Any

import pytest
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

from polytask.errors import TrainingError
from polytask.scenario.resources import TrainingSteps
from serving.manifests.pod_rules import check_pods
from trainer.train_job import LABELS, Nodes, check_train_job, job_name, train_job

GPUS = TrainingSteps(cpu="16", memory="64Gi", accelerators=4)


def test_the_job_asks_for_what_the_scenario_says(nodes: Nodes) -> None:
    job = train_job("train-small-1", replace(nodes, nproc_per_node=2), "s3://bucket/train-small-1", 90.4)
    assert TrainerV1alpha1TrainJob.from_dict(job).to_dict() == job
    assert (job["apiVersion"], job["kind"], job["metadata"]["name"]) == (
        "trainer.kubeflow.org/v1alpha1",
        "TrainJob",
        "train-small-1",
    )
    spec, trainer = job["spec"], job["spec"]["trainer"]
    assert spec["runtimeRef"] == {"name": "torch-distributed"}
    assert spec["activeDeadlineSeconds"] == 90
    assert [*trainer["command"], *trainer["args"]] == [
        "torchrun",
        "-m",
        "polytask.jobs.worker",
        "s3://bucket/train-small-1",
    ]
    assert (trainer["image"], trainer["numNodes"], trainer["numProcPerNode"]) == ("registry.example/polytask:1", 2, 2)
    assert trainer["resourcesPerNode"] == {
        "requests": {"cpu": "3", "memory": "4Gi"},
        "limits": {"cpu": "3", "memory": "6Gi"},
    }
    assert trainer["env"][0] == {"name": "OMP_NUM_THREADS", "value": "1"}  # 3 cores for 2 processes
    [job_patch] = spec["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    assert job_patch["name"] == "node"
    pod = job_patch["template"]["spec"]["template"]
    assert pod["metadata"]["labels"] == LABELS
    # No field of a patch takes the token away.
    assert problems_of_pod(pod["spec"], trainer) == ["spec.automountServiceAccountToken"]


def problems_of_pod(patch: dict[str, Any], trainer: dict[str, Any]) -> list[str]:
    """The problems that the rules of `manifests/` find in a pod whose runtime has only the values of the patch."""
    container = {**patch["containers"][0], "image": trainer["image"], "resources": trainer["resourcesPerNode"]}
    document = {"kind": "Pod", "metadata": {"name": "node"}, "spec": {**patch, "containers": [container]}}
    return [problem.path for problem in check_pods(document)]


def test_credentials_come_from_a_secret_and_gpus_are_asked_for(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    job = train_job("train-small-1", replace(nodes, nproc_per_node=4, resources=GPUS), "s3://bucket/x", 90)
    assert "hunter2" not in str(job)
    sources = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in job["spec"]["trainer"]["env"][1:]}
    assert sources["AWS_SECRET_ACCESS_KEY"] == {
        "name": "polytask-storage",
        "key": "AWS_SECRET_ACCESS_KEY",
        "optional": True,
    }
    assert job["spec"]["trainer"]["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "4"
    assert job["spec"]["trainer"]["env"][0]["value"] == "4"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("spec", "trainer", "numNode"), 2, r"spec\.trainer\.numNode=2: not known"),
        (("spec", "trainer", "numNodes"), "2", "numNodes"),
        (("spec", "runtimeRef"), {}, "name"),
        (("spec", "trainer", "env"), [{"name": "A", "valueFrom": {"secretRef": {"name": "x"}}}], "secretRef"),
    ],
)
def test_what_kubeflow_does_not_know_is_refused(
    nodes: Nodes, place: tuple[str, ...], value: object, words: str
) -> None:
    job = train_job("train-small-1", nodes, "s3://bucket/x", 90)
    section = job
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    with pytest.raises(TrainingError, match=f"TrainJob: .*{words}"):
        check_train_job(job)


def test_a_name_is_of_inputs_code_and_processes(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    name = job_name("Small_data " * 9, nodes, {"files": {"a": "1"}})
    assert re.fullmatch(r"train-small-data[a-z-]*-[0-9a-f]{12}", name)
    assert len(name) <= 40
    same = job_name(
        "Small_data " * 9,
        replace(nodes, resources=TrainingSteps(memory="99Gi"), runtime="other"),
        {"files": {"a": "1"}},
    )
    assert same == name
    others = [
        job_name("Small_data " * 9, nodes, {"files": {"a": "2"}}),
        job_name("Small_data " * 9, replace(nodes, count=3), {"files": {"a": "1"}}),
        job_name("Small_data " * 9, replace(nodes, nproc_per_node=2), {"files": {"a": "1"}}),
        job_name("Small_data " * 9, replace(nodes, image="x"), {"files": {"a": "1"}}),
    ]
    monkeypatch.setattr("trainer.train_job.code_sha256", lambda: "other")
    others.append(job_name("Small_data " * 9, nodes, {"files": {"a": "1"}}))
    assert len({name, *others}) == 6


@pytest.mark.parametrize(
    ("count", "nproc_per_node", "words"),
    [
        (1, 4, "num_nodes: 1; allowed: 2 and more"),
        (2, 3, "nproc_per_node: 3; allowed: 4, one for each accelerator"),
        (2, 0, "nproc_per_node: 0; allowed: 4"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(count: int, nproc_per_node: int, words: str) -> None:
    with pytest.raises(TrainingError, match=words):
        Nodes(count, nproc_per_node, "image", GPUS)
