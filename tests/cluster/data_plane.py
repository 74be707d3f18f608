"""Answers in place of the transformers: with the versions of the pods that are ready, as requests would meet them.

An address is `/services/<namespace>/<InferenceService>`. One ready pod of the transformer and one of the predictor take
turns for each request; where they are of two models the transformer refuses the request, as the real one does.
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
    """The state of the server: the cluster that it looks at, and the tasks that are answered."""

    def __init__(self, api: Api, tasks: list[str]) -> None:
        self._api = api
        self._tasks = tasks
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self.versions: list[tuple[str, str]] = []  # of each answer: the InferenceService and the model version

    def answer(self, namespace: str, name: str, body: Mapping[str, Any]) -> tuple[int, Object]:
        """Status and body of an inference."""
        with self._lock:
            turn = next(self._turn)
            pods = []
            for part in ("transformer", "predictor"):
                ready = self._ready_pods(namespace, name, part)
                if not ready:
                    return 503, {"error": f"no pod of {name}-{part} is ready"}
                pods.append(ready[turn % len(ready)]["metadata"]["annotations"])
        asking, answering = pods
        if VERSION not in asking:
            return 503, {"error": f"{name} has no model yet"}
        if asking[VERSION] != answering.get(VERSION):
            return 503, {"error": f"Triton serves model {answering.get(VERSION)}, not {asking[VERSION]}"}
        self.versions.append((name, asking[VERSION]))
        asked = [tensor["data"][0] for tensor in body["inputs"] if tensor["name"] == "tasks"]
        scores = [] if MUTE in answering[f"{INTERNAL}storage-initializer-sourceuri"] else [0.5, 0.25]
        outputs = [
            {"name": f"{task}_scores", "datatype": "FP32", "shape": [1, len(scores)], "data": scores}
            for task in self._tasks
            if not asked or task in asked
        ]
        stamp = {"model_version": asking[VERSION], "contract_checksum": asking[CONTRACT]}
        return 200, {"model_name": "recommender", "parameters": stamp, "outputs": outputs}

    def _ready_pods(self, namespace: str, name: str, part: str) -> list[Object]:
        pods = self._api.items("v1", "Pod", namespace, {"app": f"isvc.{name}-{part}"})
        return sorted((pod for pod in pods if is_ready(pod)), key=lambda pod: str(pod["metadata"]["name"]))


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
