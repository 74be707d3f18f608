"""A small HTTP server that behaves like Kubeflow Model Registry's REST API (v1) for the calls that its client makes.

Names are unique among models and among the versions of a model (409); what is not there is 404; a list has pages; an
update replaces all custom properties; a call without the token is 401, where one is wanted.
"""

import json
import threading
import time
from contextlib import AbstractContextManager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.json_server import JsonHandler, json_server

BASE = "/api/model_registry/v1"
# Only these fields of a document may be changed, as the API's update types have them.
EDITABLE = {"customProperties", "description", "externalId", "state", "author", "owner", "uri"}


class Problem(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class State:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.models: list[dict[str, Any]] = []
        self.versions: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []
        self.calls: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.token: str | None = None  # the one that is wanted
        self.failures: list[int] = []  # the statuses of the next calls
        self.delay = 0.0
        self.pages = 2
        self.older = False  # a server whose API is /api/model_registry/v1alpha3
        self.hidden = 0  # so many look-ups by name find nothing, as when another client is writing

    def find(self, rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
        if self.hidden and "name" in wanted:
            self.hidden -= 1
            raise Problem(404, "not found")
        for row in rows:
            if all(row.get(name) == value for name, value in wanted.items()):
                return row
        raise Problem(404, f"no object found for {wanted}")

    def create(self, rows: list[dict[str, Any]], body: dict[str, Any], unique: tuple[str, ...]) -> dict[str, Any]:
        with self.lock:
            if any(all(row.get(name) == body.get(name) for name in unique) for row in rows):
                raise Problem(409, f"{body['name']} already exists")
            row = {**body, "id": str(1 + len(self.models) + len(self.versions) + len(self.artifacts))}
            rows.append(row)
        return row

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        if self.older:
            raise Problem(404, "404 page not found")
        match [method, *path.removeprefix(BASE).strip("/").split("/")]:
            case ["GET", "registered_model"]:
                return self.find(self.models, name=query["name"])
            case ["GET", "registered_models"]:
                return self.page(self.models, query)
            case ["POST", "registered_models"]:
                return self.create(self.models, body, ("name",))
            case ["PATCH", "registered_models", number]:
                return self.change(self.find(self.models, id=number), body)
            case ["GET", "model_version"]:
                return self.find(self.versions, name=query["name"], registeredModelId=query["parentResourceId"])
            case ["POST", "model_versions"]:
                return self.create(self.versions, body, ("registeredModelId", "name"))
            case ["PATCH", "model_versions", number]:
                return self.change(self.find(self.versions, id=number), body)
            case ["GET", "registered_models", number, "versions"]:
                return self.page([row for row in self.versions if row["registeredModelId"] == number], query)
            case ["GET", "model_versions", number, "artifacts"]:
                return self.page([row for row in self.artifacts if row["version"] == number], query)
            case ["POST", "model_versions", number, "artifacts"]:
                return self.create(self.artifacts, {**body, "version": number}, ("version", "name"))
            case ["PATCH", "model_artifacts", number]:
                return self.change(self.find(self.artifacts, id=number), body)
        raise Problem(404, f"{method} {path} is no call of the API")

    def change(self, row: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        row.update({name: value for name, value in body.items() if name in EDITABLE})
        return row

    def page(self, rows: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
        size = min(int(query.get("pageSize", self.pages)), self.pages)
        start = int(query.get("nextPageToken") or 0)
        token = str(start + size) if start + size < len(rows) else ""
        return {"items": rows[start : start + size], "nextPageToken": token, "pageSize": size, "size": len(rows)}


class Handler(JsonHandler):
    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PATCH = do_GET

    def _answer(self) -> None:
        state: State = self.state
        content = self.body()
        body = json.loads(content) if content else None
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        time.sleep(state.delay)
        state.calls.append((self.command, parts.path.removeprefix(BASE)))
        token = self.headers.get("Authorization")
        state.tokens.add(token)
        try:
            if state.failures:
                raise Problem(state.failures.pop(0), "the database is unavailable")
            if state.token is not None and token != f"Bearer {state.token}":
                raise Problem(401, "no valid token")
            status, content = (
                201 if self.command == "POST" else 200,
                state.answer(self.command, parts.path, query, body),
            )
        except Problem as problem:
            status, content = problem.status, {"code": str(problem.status), "message": str(problem)}
        self.send_json(status, content)


def serving(state: State) -> AbstractContextManager[str]:
    """The server's address while it runs."""
    return json_server(Handler, state)
