"""Resources of pipeline steps on a cluster: CPU, memory, accelerators and timeout."""

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from polytask.scenario.section import Section

Cpu = Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?|[0-9]+m)$")]
Memory = Annotated[str, Field(pattern=r"^[0-9]+(Ki|Mi|Gi|Ti|K|M|G|T)?$")]

CpuRequest = Annotated[
    Cpu,
    Field(
        description="CPU that the step requests, as a Kubernetes quantity in cores: `500m` is 0.5 cores.",
        examples=["500m"],
    ),
]
MemoryRequest = Annotated[
    Memory,
    Field(
        description="Memory that the step requests, as a Kubernetes quantity in bytes: `2Gi` is 2 GiB.",
        examples=["2Gi"],
    ),
]
Hours = Annotated[
    float,
    Field(gt=0, le=24 * 30, description="Timeout of the step, in hours. The step is stopped after it.", examples=[6]),
]

_UNITS = {"": 1.0, "m": 1e-3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


class StepResources(Section):
    """Requests, limits and timeout of one step."""

    cpu: CpuRequest
    memory: MemoryRequest
    cpu_limit: Cpu | None = Field(
        default=None,
        description="CPU limit of the step, as a Kubernetes quantity in cores. It must not be less than `cpu`, which "
        "is the default.",
        examples=["2"],
    )
    memory_limit: Memory | None = Field(
        default=None,
        description="Memory limit of the step, as a Kubernetes quantity in bytes. It must not be less than `memory`, "
        "which is the default.",
        examples=["8Gi"],
    )
    accelerators: int = Field(
        default=0,
        ge=0,
        le=64,
        description="Number of accelerator devices that the step requests.",
        examples=[1],
    )
    accelerator: str = Field(
        default="nvidia.com/gpu",
        min_length=1,
        description="Kubernetes resource name of the accelerator devices.",
        examples=["amd.com/gpu"],
    )
    timeout_hours: Hours

    @model_validator(mode="after")
    def _limits_are_not_below(self) -> Self:
        for name, request, limit in (
            ("cpu_limit", self.cpu, self.cpu_limit),
            ("memory_limit", self.memory, self.memory_limit),
        ):
            if limit is not None and amount(limit) < amount(request):
                raise ValueError(f"`{name}` {limit} is less than the {request} that is requested")
        return self


class LightSteps(StepResources):
    """Resources of short steps: fingerprint, gate, deploy, smoke test and report."""

    cpu: CpuRequest = "500m"
    memory: MemoryRequest = "2Gi"
    timeout_hours: Hours = 1.0


class DataStepResources(StepResources):
    """Resources of steps that read all events: ingest, features and training set."""

    cpu: CpuRequest = "2"
    memory: MemoryRequest = "6Gi"
    timeout_hours: Hours = 4.0


class ModelSteps(StepResources):
    """Resources of steps that run a trained model: evaluate, compare, export and batch recommendations."""

    cpu: CpuRequest = "2"
    memory: MemoryRequest = "8Gi"
    timeout_hours: Hours = 6.0


class TrainingSteps(StepResources):
    """Resources of steps that train."""

    cpu: CpuRequest = "2"
    memory: MemoryRequest = "8Gi"
    timeout_hours: Hours = 24.0


class Resources(Section):
    """Resources of the pipeline steps on a cluster, by kind of step. A run on one machine ignores them."""

    light: LightSteps = Field(
        default=LightSteps(),
        description="Resources of short steps: fingerprint, gate, deploy, smoke test and report.",
        examples=[{"memory": "4Gi"}],
    )
    data: DataStepResources = Field(
        default=DataStepResources(),
        description="Resources of steps that read all events: ingest, features and training set.",
        examples=[{"cpu": "4", "memory": "16Gi"}],
    )
    model: ModelSteps = Field(
        default=ModelSteps(),
        description="Resources of steps that run a trained model: evaluate, compare, export and batch recommendations.",
        examples=[{"memory": "16Gi", "timeout_hours": 2}],
    )
    training: TrainingSteps = Field(
        default=TrainingSteps(),
        description="Resources of steps that train. In distributed training the step only waits for the nodes, and "
        "the smaller timeout of `training` and `node` applies.",
        examples=[{"accelerators": 1, "memory": "32Gi"}],
    )
    node: TrainingSteps | None = Field(
        default=None,
        description="Resources of each node in distributed training. By default they are those of `training`.",
        examples=[{"accelerators": 8, "memory": "128Gi"}],
    )


def amount(quantity: str) -> float:
    """A quantity as Kubernetes writes it, in cores or bytes: `500m` is 0.5, `2Gi` is 2147483648."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity)
    assert found is not None and found[2] in _UNITS, "the scenario's patterns allow no other"
    return float(found[1]) * _UNITS[found[2]]
