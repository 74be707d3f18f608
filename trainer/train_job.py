"""The TrainJob of Kubeflow Trainer that trains one model on several machines, checked by Kubeflow's own models."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from polytask.errors import TrainingError
from polytask.registry.lineage import code_sha256
from polytask.scenario.resources import StepResources, amount
from serving.kubernetes.client import Object, Resource

TRAIN_JOB = Resource("trainer.kubeflow.org", "v1alpha1", "trainjobs", "TrainJob")
RUNTIME = "torch-distributed"
MANAGER = "polytask-train-step"
# Whose patch of the runtime it is: these names have a domain.
PATCHER = "polytask.dev/train-step"
# What Kubeflow Trainer's runtimes call the machines, and the container on each.
NODE = "node"
JOB_OF_POD = "jobset.sigs.k8s.io/jobset-name"
INDEX_OF_POD = "batch.kubernetes.io/job-completion-index"
LABELS = {"app.kubernetes.io/part-of": "polytask", "component": "training"}
# A secret of the namespace, where there is one: credentials are never part of the document.
STORAGE_SECRET = "polytask-storage"  # noqa: S105 - the name of a Kubernetes secret, not what it holds
STORAGE_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
)
# The pods' names are longer than the job's by what JobSet adds, and end up as names of hosts.
NAME_LENGTH = 40


@dataclass(frozen=True)
class Nodes:
    """The machines that train together: how many, the processes on each, what runs there and what each one gets.

    `runtime` is a ClusterTrainingRuntime for torch. A process has a GPU of its own where `resources` have some.
    """

    count: int
    nproc_per_node: int
    image: str
    resources: StepResources
    runtime: str = RUNTIME

    def __post_init__(self) -> None:
        gpus = self.resources.accelerators
        if self.count < 2:
            raise TrainingError(f"num_nodes: {self.count}; allowed: 2 and more, or 1 without a TrainJob")
        if self.nproc_per_node < 1 or (gpus and self.nproc_per_node != gpus):
            allowed = f"{gpus}, one for each accelerator of a node" if gpus else "1 and more"
            raise TrainingError(f"nproc_per_node: {self.nproc_per_node}; allowed: {allowed}")


def job_name(scenario: str, nodes: Nodes, inputs: Mapping[str, Any]) -> str:
    """A name that is equal for the same inputs, code and number of processes, and for nothing else.

    The resources of a node are not part of it: a training that ran out of memory continues with more.
    """
    content = json.dumps([inputs, nodes.count, nodes.nproc_per_node, nodes.image, code_sha256()], sort_keys=True)
    words = re.sub(r"[^a-z0-9]+", "-", scenario.lower()).strip("-")
    short = words[: NAME_LENGTH - len("train--") - 12].strip("-")
    return f"train-{short}-{sha256(content.encode()).hexdigest()[:12]}"


def train_job(name: str, nodes: Nodes, place: str, seconds: float) -> Object:
    """The document of a TrainJob that trains the inputs at `place` (`polytask.jobs.exchange`), ended after `seconds`.

    Raises TrainingError where Kubeflow's models do not take it.
    """
    needs = nodes.resources
    requests = {"cpu": needs.cpu, "memory": needs.memory}
    limits = {"cpu": needs.cpu_limit or needs.cpu, "memory": needs.memory_limit or needs.memory}
    if needs.accelerators:
        requests[needs.accelerator] = limits[needs.accelerator] = str(needs.accelerators)
    threads = max(1, int(amount(needs.cpu) // nodes.nproc_per_node))
    document: Object = {
        "apiVersion": TRAIN_JOB.api_version,
        "kind": TRAIN_JOB.kind,
        "metadata": {"name": name, "labels": dict(LABELS)},
        "spec": {
            "activeDeadlineSeconds": max(1, round(seconds)),
            "runtimeRef": {"name": nodes.runtime},
            "trainer": {
                "image": nodes.image,
                "command": ["torchrun", "-m", "polytask.jobs.worker"],
                "args": [place],
                "numNodes": nodes.count,
                "numProcPerNode": nodes.nproc_per_node,
                "resourcesPerNode": {"requests": requests, "limits": limits},
                "env": [{"name": "OMP_NUM_THREADS", "value": str(threads)}, *_storage_variables()],
            },
            "runtimePatches": [_patch_of_pods()],
        },
    }
    check_train_job(document)
    return document


def check_train_job(document: Object) -> None:
    """Raise TrainingError where a TrainJob has a field or a type that Kubeflow's models do not know.

    They leave out what they do not know, so what they make of the document has to be the document.
    """
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob
    from pydantic import ValidationError

    try:
        model = TrainerV1alpha1TrainJob.from_dict(document)
        understood = None if model is None else model.to_dict()
    except (ValidationError, ValueError, TypeError) as error:
        raise TrainingError(f"TrainJob: {' '.join(str(error).split())}") from error
    if lost := sorted(_paths(document) - _paths(understood or {})):
        raise TrainingError(f"TrainJob: {', '.join(lost)}: not known; allowed: the fields of {TRAIN_JOB.api_version}")


def _storage_variables() -> list[Object]:
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": STORAGE_SECRET, "key": name, "optional": True}}}
        for name in STORAGE_VARIABLES
    ]


def _patch_of_pods() -> Object:
    """What the runtime leaves open: labels that network policies know the pods by, no rights, places to write to.

    Without these a namespace that allows restricted pods alone would refuse the nodes.
    """
    unprivileged = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    pod = {
        "metadata": {"labels": dict(LABELS)},
        "spec": {
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [
                {"name": "tmp", "emptyDir": {}},
                {"name": "shared-memory", "emptyDir": {"medium": "Memory"}},  # GPUs of a node exchange through it
            ],
            "containers": [
                {
                    "name": NODE,
                    "securityContext": unprivileged,
                    "volumeMounts": [
                        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a path of the pod, which is its own
                        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108
                    ],
                }
            ],
        },
    }
    template = {"spec": {"replicatedJobs": [{"name": NODE, "template": {"spec": {"template": pod}}}]}}
    return {"manager": PATCHER, "trainingRuntimeSpec": {"template": template}}


def _paths(value: Any, place: str = "") -> set[str]:
    """Every leaf of a document as `place=value`."""
    if isinstance(value, dict) and value:
        return {path for key, one in value.items() for path in _paths(one, f"{place}.{key}" if place else key)}
    if isinstance(value, list) and value:
        return {path for number, one in enumerate(value) for path in _paths(one, f"{place}[{number}]")}
    return {f"{place}={value!r}"}
