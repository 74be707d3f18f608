"""A small API server that knows TrainJobs, their pods and logs, and what a controller makes of them."""

import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.json_server import JsonHandler, json_server

JOBS = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/test/trainjobs/"
PODS = "/api/v1/namespaces/test/pods"

Job = dict[str, Any]


@dataclass
class State:
    """`controller` is called with every TrainJob that is made, in its own thread.

    A deleted object remains for `lingers` more calls, as it does while its pods end.
    """

    jobs: dict[str, Job] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    controller: Callable[[Job], None] = lambda job: None
    forbidden: set[str] = field(default_factory=set)
    calls: list[tuple[str, str]] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)
    lingers: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def log(self, name: str, kind: str, message: str) -> None:
        """Put a condition into the status of a TrainJob."""
        with self.lock:
            if name in self.jobs:
                condition = {"type": kind, "status": "True", "reason": kind, "message": message}
                self.jobs[name].setdefault("status", {}).setdefault("conditions", []).append(condition)

    def made(self) -> list[str]:
        return [path.removeprefix(JOBS) for method, path in self.calls if method == "PATCH"]

    def deleted(self) -> list[str]:
        return [path.removeprefix(JOBS) for method, path in self.calls if method == "DELETE"]


class Handler(JsonHandler):
    def do_GET(self) -> None:
        state, url = self.state, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        with state.lock:
            state.calls.append(("GET", url.path))
            if state.failures:
                return self.refuse(state.failures.pop(0), "the server is busy")
            if url.path.startswith(JOBS):
                return self.one(url.path.removeprefix(JOBS))
            if url.path == PODS and "pods" not in state.forbidden:
                assert query["labelSelector"].startswith("jobset.sigs.k8s.io/jobset-name=train-")
                return self.send_json(200, {"items": state.pods})
            pod, _, resource = url.path.removeprefix(PODS + "/").partition("/")
            if resource == "log" and pod in state.logs and "log" not in state.forbidden:
                assert query["container"] == "node"
                return self.send_text(self.lines(state.logs[pod], query))
            return self.refuse(403, f"{url.path} is forbidden")

    def lines(self, text: str, query: dict[str, str]) -> str:
        """Lines as the API gives them: whole seconds count, and stamps are left out unless they are requested."""
        lines = [line for line in text.splitlines(True) if line[:19] >= query.get("sinceTime", "")[:19]]
        lines = lines[-int(query.get("tailLines", 0)) :]
        return "".join(line if query.get("timestamps") else line.partition(" ")[2] for line in lines)

    def do_PATCH(self) -> None:
        job, url, state = json.loads(self.body()), urlsplit(self.path), self.state
        assert self.headers["Content-Type"] == "application/apply-patch+yaml"
        assert parse_qs(url.query)["fieldValidation"] == ["Strict"]
        with state.lock:
            state.calls.append(("PATCH", url.path))
            if "trainjobs" in state.forbidden:
                return self.refuse(403, "trainjobs is forbidden")
            if "kind" in state.forbidden:
                return self.refuse(404, "the server could not find the requested resource")
            assert job["metadata"]["name"] not in state.jobs, "the spec of a TrainJob cannot be changed"
            state.jobs[job["metadata"]["name"]] = job
            threading.Thread(target=state.controller, args=[copy.deepcopy(job)], daemon=True).start()
            return self.send_json(201, job)

    def do_DELETE(self) -> None:
        path = urlsplit(self.path).path
        with self.state.lock:
            self.state.calls.append(("DELETE", path))
            name = path.removeprefix(JOBS)
            if name not in self.state.jobs:
                return self.refuse(404, "not found")
            job = self.state.jobs[name]
            job["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z"
            if not self.state.lingers:
                del self.state.jobs[name]
            return self.send_json(200, job)

    def one(self, name: str) -> None:
        state = self.state
        if name in state.jobs and "deletionTimestamp" in state.jobs[name]["metadata"]:
            state.lingers -= 1
            if state.lingers < 0:
                del state.jobs[name]
        if name in state.jobs:
            return self.send_json(200, state.jobs[name])
        return self.refuse(404, f'trainjobs "{name}" not found')

    def refuse(self, status: int, message: str) -> None:
        self.send_json(status, {"kind": "Status", "code": status, "message": message})

    def send_text(self, text: str) -> None:
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving(state: State) -> Iterator[str]:
    with json_server(Handler, state) as url:
        yield url


def pod(index: int, phase: str = "Running", **status: Any) -> dict[str, Any]:
    labels = {"batch.kubernetes.io/job-completion-index": str(index)}
    return {"metadata": {"name": f"node-0-{index}", "labels": labels}, "status": {"phase": phase, **status}}


def ended(code: int, at: str, reason: str = "Error") -> list[dict[str, Any]]:
    return [{"state": {"terminated": {"exitCode": code, "finishedAt": at, "reason": reason}}}]
