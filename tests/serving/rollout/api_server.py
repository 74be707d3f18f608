"""A small HTTP server that behaves like the Kubernetes API for the objects of a rollout, KServe's controller included.

Server-side apply: every manager's last document is kept; an object is all of them merged; a field that another manager
set to another value is a conflict (409) unless forced; what a manager leaves out disappears unless another has it.
`generation` grows when the spec changes. The controller is slow: for some reads the status stays the old one, including
Ready. A transformer responds with the version of its pods, which follows the status.
"""

import copy
import json
import threading
from collections.abc import Mapping
from http.server import ThreadingHTTPServer
from typing import Any

from tests.json_server import JsonHandler
from tests.serving.rollout.fields import Fields, at, known, leaves, paths, put

NAMESPACE = "test"


class Problem(Exception):
    def __init__(self, code: int, reason: str, message: str, causes: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        details = {"causes": causes or []}
        self.status = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


class Cluster:
    """The state. Models whose address contains `broken` fail to load; `mute` ones load and return empty outputs."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[str, dict[str, Any]] = {}
        self.applied: dict[str, dict[str, Fields]] = {}
        self.events: list[dict[str, Any]] = []
        self.writes: list[tuple[str, str]] = []
        self.weights: list[dict[str, int]] = []
        self.failures: list[int] = []  # the statuses of the next calls
        self.forbidden: set[str] = set()
        self.stale_reads = 3
        self.tokens: set[str | None] = set()
        self.contracts: dict[str, str] = {}  # model version -> contract checksum of what its transformer loads
        self.tasks = ["item", "user", "scene"]
        self.requested: list[str] = []
        self._reads: dict[str, int] = {}
        self.running: dict[str, dict[str, Any]] = {}
        self.made: dict[str, dict[str, Any]] = {}  # the specs that Deployments were made of
        self.pod_refusal = ""  # what admission reports for every new pod
        self.leases: dict[str, dict[str, Any]] = {}

    def get(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise Problem(404, "NotFound", f'{path.split("/")[-2]} "{path.split("/")[-1]}" not found')
        self._control(path)
        return copy.deepcopy(self.objects[path])

    def apply(self, path: str, document: dict[str, Any], manager: str, force: bool, validation: str) -> dict[str, Any]:
        if validation != "Strict":
            raise Problem(400, "BadRequest", "the tests want fieldValidation=Strict")
        unknown = [".".join(place) for place in paths(document) if not known(place)]
        if unknown:
            raise Problem(400, "BadRequest", f'strict decoding error: unknown field "{unknown[0]}"')
        address = at(document, ("spec", "predictor", "model", "storageUri"))
        if address is not None and "invalid" in address:
            raise Problem(422, "Invalid", f'InferenceService is invalid: spec.predictor.model.storageUri: "{address}"')
        new = dict(leaves(document))
        managers = self.applied.setdefault(path, {})
        conflicts = [
            (other, place)
            for other, fields in managers.items()
            for place, value in new.items()
            if other != manager and fields.get(place, value) != value
        ]
        if conflicts and not force:
            causes = [
                {"message": f'conflict with "{other}"', "field": "." + ".".join(place)} for other, place in conflicts
            ]
            raise Problem(409, "Conflict", f"Apply failed with {len(conflicts)} conflicts", causes)
        for other, place in conflicts:
            del managers[other][place]
        managers[manager] = new
        merged: dict[str, Any] = {}
        for fields in managers.values():
            for place, value in fields.items():
                put(merged, place, value)
        before = self.objects.get(path)
        metadata = {"uid": f"uid-{len(self.objects)}", "generation": 0, **(before or {}).get("metadata", {})}
        if before is None or before["spec"] != merged.get("spec"):
            metadata["generation"] += 1
            self._reads[path] = 0
        after = {**merged, "metadata": {**metadata, **merged["metadata"]}}
        for field in ("labels", "annotations"):
            if field not in merged["metadata"]:
                after["metadata"].pop(field, None)
        if before is not None and "status" in before:
            after["status"] = before["status"]
        if before != after:
            self.writes.append((manager, path))
        self.objects[path] = after
        if path.endswith("/httproutes/recommender") and "rules" in after["spec"]:
            rule = after["spec"]["rules"][0]
            weights = {entry["name"]: entry["weight"] for entry in rule["backendRefs"]}
            weights |= {entry["requestMirror"]["backendRef"]["name"]: -1 for entry in rule.get("filters", ())}
            self.weights.append(weights)
        return copy.deepcopy(after)

    def delete(self, path: str) -> dict[str, Any]:
        gone = self.get(path)
        del self.objects[path], self.applied[path]
        self.writes.append(("delete", path))
        self.running.pop(path.rpartition("/")[2], None)
        self.made.pop(path.rpartition("/")[2], None)
        return gone

    def _control(self, path: str) -> None:
        """The work of KServe between two reads of an InferenceService."""
        live = self.objects[path]
        if live["kind"] != "InferenceService":
            return
        self._reads[path] = self._reads.get(path, 0) + 1
        if self._reads[path] <= self.stale_reads:
            return
        self.made[path.rpartition("/")[2]] = copy.deepcopy(live["spec"])
        generation = 1  # a Deployment's
        address = at(live, ("spec", "predictor", "model", "storageUri")) or ""
        ready = bool(address) and "broken" not in address
        # Right after it has seen a change, the controller still reports the pods as they were.
        if self._reads[path] == self.stale_reads + 1:
            live["status"] = {**live.get("status", {}), "observedGeneration": generation}
            live["status"]["conditions"] = [_condition("Ready", False, "pods are starting")]
            return
        live["status"] = {
            "observedGeneration": generation,
            "conditions": [_condition("Ready", ready), _condition("PredictorReady", ready, "load failed")],
            "modelStatus": {"transitionStatus": "UpToDate"},
        }
        if "broken" in address:
            info = {"reason": "ModelLoadFailed", "message": "multitask: no such tensor"}
            live["status"]["modelStatus"] = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": info}
        if self.pod_refusal:
            refused = [_condition(kind, False, self.pod_refusal) for kind in ("PredictorReady", "Ready")]
            live["status"] |= {"conditions": refused, "modelStatus": {"transitionStatus": "InProgress"}}
            return
        if ready:
            self.running[path.rpartition("/")[2]] = copy.deepcopy(live["spec"])

    def deployment(self, name: str) -> dict[str, Any]:
        """The Deployment of one part of an InferenceService, with one pod and its own generation."""
        service, _, part = name.rpartition("-")
        spec = self.made.get(service)
        if spec is None or part not in spec:
            raise Problem(404, "NotFound", f'deployments.apps "{name}" not found')
        template = {"metadata": {"annotations": copy.deepcopy(spec[part].get("annotations") or {})}}
        available = int(self.running.get(service) == spec)
        status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": available}
        return {"metadata": {"generation": 1}, "spec": {"replicas": 1, "template": template}, "status": status}

    def write_lease(self, path: str, document: dict[str, Any], new: bool) -> dict[str, Any]:
        """Create or replace a Lease; only one writer wins."""
        there = self.leases.get(path)
        version = document["metadata"].pop("resourceVersion", None)
        if new != (there is None) or (there is not None and version != there["metadata"]["resourceVersion"]):
            raise Problem(409, "Conflict", "the Lease is there already, or was changed")
        number = 1 if there is None else int(there["metadata"]["resourceVersion"]) + 1
        self.leases[path] = {**document, "metadata": {**document["metadata"], "resourceVersion": str(number)}}
        return copy.deepcopy(self.leases[path])

    def answer(self, name: str, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """The response of the transformer of an InferenceService."""
        spec = self.running.get(name)
        if spec is None:
            return 503, {"error": "no pod is ready"}
        version = spec["predictor"]["annotations"]["polytask.dev/model-version"]
        requested = [tensor["data"][0] for tensor in body["inputs"] if tensor["name"] == "tasks"]
        self.requested.append(name)
        outputs = [
            {"name": f"{task}_scores", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 0.25]}
            for task in self.tasks
            if not requested or task in requested
        ]
        if "mute" in spec["predictor"]["model"]["storageUri"]:
            outputs = [{**output, "data": []} for output in outputs]
        stamp = {"model_version": version, "contract_checksum": self.contracts.get(version, "unknown")}
        return 200, {"model_name": "recommender", "parameters": stamp, "outputs": outputs}


def _condition(kind: str, ready: bool, message: str = "") -> dict[str, str]:
    return {"type": kind, "status": "True" if ready else "False", "message": "" if ready else message}


class Server(ThreadingHTTPServer):
    """Serves a cluster on a free port: its API below /apis and /api, its transformers below /services/<name>."""

    daemon_threads = True

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cluster = cluster

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(JsonHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(None)

    def do_DELETE(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(self.body())

    do_PATCH = do_PUT = do_POST

    def _answer(self, body: bytes | None) -> None:
        cluster, path = self.server.cluster, self.path.partition("?")[0]
        with cluster.lock:
            try:
                status, content = self._handle(cluster, path, json.loads(body) if body else None)
            except Problem as problem:
                status, content = problem.status["code"], problem.status
        self.send_json(status, content)

    def _handle(self, cluster: Cluster, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        if path.startswith("/services/"):
            name, _, rest = path.removeprefix("/services/").partition("/")
            if rest == "v2/models/recommender":
                return 200, {"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [-1, 1]}]}
            assert rest == "v2/models/recommender/infer", rest
            return cluster.answer(name, body)
        cluster.tokens.add(self.headers.get("Authorization"))
        if cluster.failures:
            raise Problem(cluster.failures.pop(0), "ServiceUnavailable", "the server is busy")
        if path.split("/")[-1 if self.command == "POST" else -2] in cluster.forbidden:
            raise Problem(403, "Forbidden", f"{self.command} {path} is forbidden")
        if "/leases" in path:
            if self.command == "GET":
                if path not in cluster.leases:
                    raise Problem(404, "NotFound", "no Lease")
                return 200, copy.deepcopy(cluster.leases[path])
            if self.command == "POST":
                path += f"/{body['metadata']['name']}"
            return 200, cluster.write_lease(path, body, self.command == "POST")
        if "/deployments/" in path:
            return 200, cluster.deployment(path.rpartition("/")[2])
        if path.endswith("/pods"):
            return 200, {"items": []}
        if self.command == "POST":
            assert path == "/api/v1/namespaces/test/events", path
            cluster.events.append(body)
            return 201, body
        if self.command == "DELETE":
            return 200, cluster.delete(path)
        if self.command == "GET":
            return 200, cluster.get(path)
        assert self.headers["Content-Type"] == "application/apply-patch+yaml"
        query = dict(entry.split("=") for entry in self.path.partition("?")[2].split("&"))
        before = path in cluster.objects
        kept = copy.deepcopy(vars(cluster) | {"lock": None}) if "dryRun" in query else None
        answer = cluster.apply(path, body, query["fieldManager"], query["force"] == "true", query["fieldValidation"])
        if kept is not None:
            vars(cluster).update(kept | {"lock": cluster.lock})
        return 200 if before else 201, answer
