"""How to roll out, and what came of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving.rollout.service.lease import SECONDS
from serving.rollout.strategies.canary_analysis import Judge, ProbeJudge

Strategy = Literal["recreate", "rolling", "canary", "shadow"]
Action = Literal["unchanged", "deployed", "promoted", "shadowing"]


@dataclass(frozen=True)
class Settings:
    """How to roll out. `manifest` holds the InferenceService for a namespace that has none yet.

    `lease_timeout` is the longest wait for another rollout, `stop_seconds` what pods and then the requests may
    take once this process is to end, `route_seconds` what a gateway takes to follow a route that was changed.
    """

    name: str = "recommender"
    strategy: Strategy = "rolling"
    manifest: Path | None = None
    url: str = "http://{name}-transformer.{namespace}.svc"
    ready_timeout: float = 900.0
    response_timeout: float = 120.0
    failing_seconds: float = 20.0
    poll_seconds: float = 2.0
    weights: tuple[int, ...] = (10, 50)
    step_seconds: float = 300.0
    judges: tuple[Judge, ...] = (ProbeJudge(),)
    force_conflicts: bool = False
    lease_seconds: float = SECONDS
    lease_timeout: float = 3600.0
    stop_seconds: float = 8.0
    route_seconds: float = 5.0


@dataclass(frozen=True)
class Outcome:
    """What was done, about which model, for how long it took."""

    action: Action
    model_version: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.action}: model {self.model_version} in {self.seconds:.0f} s"
