"""A rollout that is killed after one of its writes, and who serves then."""

import threading
from collections.abc import Callable
from typing import Any

from kubernetes.client import Configuration

from serving.kubernetes.client import Cluster
from serving.rollout.errors import RolloutError
from tests.serving.rollout.api_server import NAMESPACE
from tests.serving.rollout.api_server import Cluster as State

MODEL = "s3://models/small/{}/repository"


class Died(BaseException):
    """A process that was killed: nothing is put right afterwards."""


class Dying(Cluster):
    """Makes no call any more once `ends` was true of a write that was made."""

    def __init__(self, url: str, ends: Callable[[str, str], bool]) -> None:
        super().__init__(Configuration(host=url), NAMESPACE, retry_seconds=0.01)
        self._ends = ends
        self._dead = False

    def _send(self, method: str, path: str, query: Any, body: Any) -> Any:
        if self._dead:
            raise Died if threading.current_thread() is threading.main_thread() else RolloutError("dead")
        response = super()._send(method, path, query, body)
        if method != "GET" and "dryRun" not in query and self._ends(method, path):
            self._dead = True
            raise Died
        return response


def patches(path: str, number: int = 1) -> Callable[[str, str], bool]:
    """True at the `number`-th PATCH of an object."""
    left = [number]

    def ends(method: str, called: str) -> bool:
        left[0] -= method == "PATCH" and called.endswith(path)
        return left[0] == 0

    return ends


def requests_go_to(state: State) -> set[str]:
    return {name.removesuffix("-transformer") for name, weight in state.weights[-1].items() if weight > 0}


def served(state: State) -> bool:
    """Whether everybody who gets requests has a pod that responds."""
    return all(name in state.running for name in requests_go_to(state))


def promotion(state: State) -> Callable[[str, str], bool]:
    """True once the first InferenceService is changed while the canary gets all requests."""
    return lambda method, path: (
        method == "PATCH"
        and path.endswith("/inferenceservices/recommender")
        and state.weights[-1] == {"recommender-canary-transformer": 100}
    )
