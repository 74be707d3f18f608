"""A data plane in place of the transformers: it responds with the versions of the pods that are ready.

An address is `/services/<namespace>/<InferenceService>`. The ready transformer pods take turns. Each calls a ready
predictor pod with the same contract, and refuses the request if there is none, as the real transformer does.
"""

import itertools
import json
import threading
from collections.abc import Mapping
from typing import Any

from tests.cluster.api import Api, Object
from tests.cluster.kserve_pods import INTERNAL
from tests.json_server import JsonHandler

VERSION = "polytask.dev/model-version"
CONTRACT = "polytask.dev/contract-sha256"
# A model whose address contains this word loads, and its outputs are empty.
MUTE = "mute"


class DataPlane:
    """The state of the server: the cluster that it reads, and the tasks that it returns."""

    def __init__(self, api: Api, tasks: list[str]) -> None:
        self._api = api
        self._tasks = tasks
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self.versions: list[tuple[str, str]] = []  # of each response: the InferenceService, the model version
        self.refused: list[tuple[str, str]] = []  # of each refusal: the InferenceService and the reason

    def answer(self, namespace: str, name: str, body: Mapping[str, Any]) -> tuple[int, Object]:
        """Status and body of an inference."""
        with self._lock:
            turn = next(self._turn)
        transformers, predictors = (self._ready_pods(namespace, name, part) for part in ("transformer", "predictor"))
        for part, ready in (("transformer", transformers), ("predictor", predictors)):
            if not ready:
                return self._refuse(name, f"no pod of {name}-{part} is ready")
        requesting = transformers[turn % len(transformers)]
        if VERSION not in requesting:
            return self._refuse(name, f"{name} has no model yet")
        contracts = requesting[CONTRACT].split(",")
        agreeing = [one for one in predictors if one.get(CONTRACT) in contracts]
        if not agreeing:
            served = ", ".join(sorted({str(one.get(VERSION)) for one in predictors}))
            return self._refuse(name, f"Triton serves model {served}, not {requesting[VERSION]}")
        answering = agreeing[turn % len(agreeing)]
        with self._lock:
            self.versions.append((name, answering[VERSION]))
        requested = [tensor["data"][0] for tensor in body["inputs"] if tensor["name"] == "tasks"]
        scores = [] if MUTE in answering[f"{INTERNAL}storage-initializer-sourceuri"] else [0.5, 0.25]
        outputs = [
            {"name": f"{task}_scores", "datatype": "FP32", "shape": [1, len(scores)], "data": scores}
            for task in self._tasks
            if not requested or task in requested
        ]
        stamp = {"model_version": answering[VERSION], "contract_checksum": answering[CONTRACT]}
        return 200, {"model_name": "recommender", "parameters": stamp, "outputs": outputs}

    def _refuse(self, name: str, reason: str) -> tuple[int, Object]:
        with self._lock:
            self.refused.append((name, reason))
        return 503, {"error": reason}

    def _ready_pods(self, namespace: str, name: str, part: str) -> list[Object]:
        """Their annotations."""
        pods = self._api.items("v1", "Pod", namespace, {"app": f"isvc.{name}-{part}"})
        ready = sorted((pod for pod in pods if is_ready(pod)), key=lambda pod: str(pod["metadata"]["name"]))
        return [pod["metadata"].get("annotations") or {} for pod in ready]


def is_ready(pod: Object) -> bool:
    """Whether a Service would send requests to a pod."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


class Handler(JsonHandler):
    """For `json_server` with a DataPlane as its state."""

    def do_GET(self) -> None:
        self.send_json(200, {"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [-1, 1]}]})

    def do_POST(self) -> None:
        _, _, namespace, name, *rest = self.path.split("/")
        body = json.loads(self.body())
        assert "/".join(rest) == "v2/models/recommender/infer", rest
        self.send_json(*self.state.answer(namespace, name, body))
