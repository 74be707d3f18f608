"""What the steps of a pipeline ask of a cluster: cores, memory, accelerators, and the hours they may take."""

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from polytask.scenario.section import Section

Cpu = Annotated[str, Field(pattern=r"^([0-9]+(\.[0-9]+)?|[0-9]+m)$")]
Memory = Annotated[str, Field(pattern=r"^[0-9]+(Ki|Mi|Gi|Ti|K|M|G|T)?$")]

_UNITS = {"": 1.0, "m": 1e-3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS |= {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}


class StepResources(Section):
    """What one step requests, and how far it may go. A limit that is not named is what is requested.

    `accelerators` counts devices of the kind `accelerator`, a resource name of the cluster. After `hours` the step is
    ended.
    """

    cpu: Cpu
    memory: Memory
    cpu_limit: Cpu | None = None
    memory_limit: Memory | None = None
    accelerators: int = Field(default=0, ge=0, le=64)
    accelerator: str = Field(default="nvidia.com/gpu", min_length=1)
    hours: float = Field(gt=0, le=24 * 30)

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
    """Steps that look and move: the fingerprint, the gate, deploy, the smoke test, the report."""

    cpu: Cpu = "500m"
    memory: Memory = "2Gi"
    hours: float = Field(default=1.0, gt=0, le=24 * 30)


class DataSteps(StepResources):
    """Steps over all events: ingest, features, the training set."""

    cpu: Cpu = "2"
    memory: Memory = "6Gi"
    hours: float = Field(default=4.0, gt=0, le=24 * 30)


class ModelSteps(StepResources):
    """Steps that ask a trained model: evaluate, compare, export, recommend to all."""

    cpu: Cpu = "2"
    memory: Memory = "8Gi"
    hours: float = Field(default=6.0, gt=0, le=24 * 30)


class TrainingSteps(StepResources):
    """Steps that train."""

    cpu: Cpu = "2"
    memory: Memory = "8Gi"
    hours: float = Field(default=24.0, gt=0, le=24 * 30)


class Resources(Section):
    """What the steps of a pipeline ask of a cluster, by what they do. A run on one machine takes what is there.

    `node` is what each machine asks that trains together with others; without it, what `training` asks. The step that
    waits for them has the resources of `training`, which may be small then; the fewer hours of the two count.
    """

    light: LightSteps = LightSteps()
    data: DataSteps = DataSteps()
    model: ModelSteps = ModelSteps()
    training: TrainingSteps = TrainingSteps()
    node: TrainingSteps | None = None


def amount(quantity: str) -> float:
    """A quantity as Kubernetes writes it, in cores or bytes: `500m` is 0.5, `2Gi` is 2147483648."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity)
    assert found is not None and found[2] in _UNITS, "the scenario's patterns allow no other"
    return float(found[1]) * _UNITS[found[2]]
