"""A small HTTP server that behaves like Kubeflow Pipelines' API v2beta1 for the calls of `polytask submit`."""

import json
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.json_server import JsonHandler, json_server

BASE = "/apis/v2beta1"
Recommendations = tuple[int, Any]


class State:
    """The uploads and started runs. `states` are the results of successive status reads; the last one repeats."""

    def __init__(self) -> None:
        self.token: str | None = None
        self.calls: list[str] = []
        self.pipelines: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.experiments: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.uploads: list[bytes] = []
        self.states: list[dict[str, Any]] = [{"state": "SUCCEEDED"}]
        self.busy: list[int] = []  # statuses for the next looks at a run

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes) -> Recommendations:
        match [method, *path.removeprefix(BASE).strip("/").split("/")]:
            case ["GET", "healthz"]:
                return 200, {"multi_user": False}
            case ["GET", "pipelines"]:
                return 200, {"pipelines": self._found(self.pipelines, query)}
            case ["POST", "pipelines"]:
                return 200, self._made(self.pipelines, "pipeline_id", json.loads(body))
            case ["GET", "pipelines", number, "versions"]:
                mine = [row for row in self.versions if row["pipeline_id"] == number]
                return 200, {"pipeline_versions": self._found(mine, query)}
            case ["POST", "pipelines", "upload_version"]:
                self.uploads.append(body)
                row = {"pipeline_id": query["pipelineid"], "display_name": query["name"], "name": query["name"]}
                return 200, self._made(self.versions, "pipeline_version_id", row)
            case ["GET", "experiments"]:
                mine = [row for row in self.experiments if row.get("namespace", "") == query.get("namespace", "")]
                return 200, {"experiments": self._found(mine, query)}
            case ["POST", "experiments"]:
                return 200, self._made(self.experiments, "experiment_id", json.loads(body))
            case ["POST", "runs"]:
                return 200, self._made(self.runs, "run_id", json.loads(body))
            case ["GET", "runs", number]:
                if self.busy:
                    return self.busy.pop(0), {"message": "busy"}
                now = self.states.pop(0) if len(self.states) > 1 else self.states[0]
                return 200, {"run_id": number, **now}
        return 404, {"message": f"{method} {path} is no call of the API"}

    def _found(self, rows: list[dict[str, Any]], query: dict[str, str]) -> list[dict[str, Any]]:
        predicates = json.loads(query["filter"])["predicates"] if query.get("filter") else []
        return [row for row in rows if all(row[one["key"]] == one["stringValue"] for one in predicates)]

    def _made(self, rows: list[dict[str, Any]], key: str, row: dict[str, Any]) -> dict[str, Any]:
        rows.append({**row, key: f"{key}-{len(rows) + 1}"})
        return rows[-1]


class Handler(JsonHandler):
    def do_GET(self) -> None:
        state: State = self.state
        body = self.body()
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        state.calls.append(f"{self.command} {parts.path.removeprefix(BASE)}")
        if state.token is not None and self.headers.get("Authorization") != f"Bearer {state.token}":
            status, content = 401, {"error": "Unauthenticated: no valid token"}
        else:
            status, content = state.answer(self.command, parts.path, query, body)
        self.send_json(status, content)

    do_POST = do_GET


def serving(state: State) -> AbstractContextManager[str]:
    """The server's address while it runs."""
    return json_server(Handler, state)
