"""Calls to a deployed transformer: does it serve every task, and with the model that was deployed?"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from polytask.contract.contract import RECOMMENDER
from polytask.contract.names import QUERY, TASKS, USER_ID
from serving.rollout.errors import NotServing

SECONDS = 5.0


@dataclass(frozen=True)
class Expected:
    """The model that must be served, and its tasks."""

    model_version: str
    contract_sha256: str
    tasks: Sequence[str]


class ServiceEndpoint:
    """A transformer's REST address. Every call has a deadline."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url.rstrip("/")
        self._client = httpx.Client(timeout=SECONDS, transport=transport)
        self._inputs: list[dict[str, Any]] | None = None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def send_request(self, task: str | None) -> dict[str, Any]:
        """The response to a request for one unknown user, for one task or for all. Raises NotServing."""
        inputs = list(self._question())
        if task is not None:
            inputs.append({"name": TASKS, "datatype": "BYTES", "shape": [1], "data": [task]})
        return self._request("POST", f"/v2/models/{RECOMMENDER}/infer", {"inputs": inputs})

    def _question(self) -> list[dict[str, Any]]:
        """The inputs of a request, according to the transformer's own metadata."""
        if self._inputs is None:
            metadata = self._request("GET", f"/v2/models/{RECOMMENDER}")
            types = {entry["name"]: entry["datatype"] for entry in metadata.get("inputs") or ()}
            name = next((name for name in (USER_ID, QUERY) if name in types), None)
            if name is None:
                raise NotServing(
                    f"{self.url}: takes inputs {', '.join(types) or 'of no kind'}, not {USER_ID} or {QUERY}"
                )
            value: int | str = "0" if types[name] == "BYTES" else 0
            self._inputs = [{"name": name, "datatype": types[name], "shape": [1, 1], "data": [value]}]
        return self._inputs

    def _request(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            response = self._client.request(method, self.url + path, json=body)
        except httpx.HTTPError as error:
            raise NotServing(f"{self.url}: {type(error).__name__}: {error}") from error
        try:
            content = response.json()
        except ValueError:
            content = None
        if response.status_code != httpx.codes.OK or not isinstance(content, dict):
            logged = content.get("error") if isinstance(content, dict) else response.text[:200]
            raise NotServing(f"{self.url}{path}: {response.status_code}: {logged}")
        return content


def check_responses(endpoint: ServiceEndpoint, expected: Expected) -> None:
    """Request every task once. Raises NotServing for a missing, empty or not finite prediction, or another model."""
    for task in expected.tasks or (None,):
        answer = endpoint.send_request(task)
        stamp = answer.get("parameters") or {}
        found = (stamp.get("model_version"), stamp.get("contract_checksum"))
        if found != (expected.model_version, expected.contract_sha256):
            raise NotServing(
                f"{endpoint.url}: serves model version {found[0]}, contract {str(found[1])[:12]}; "
                f"deployed: {expected.model_version}, {expected.contract_sha256[:12]}"
            )
        outputs = {entry["name"]: entry.get("data") or [] for entry in answer.get("outputs") or ()}
        mine = {name: data for name, data in outputs.items() if task is None or name.rpartition("_")[0] == task}
        if not mine:
            raise NotServing(f"{endpoint.url}: task {task}: no prediction, only {', '.join(outputs) or 'nothing'}")
        for name, data in mine.items():
            if not data:
                raise NotServing(f"{endpoint.url}: {name} is empty")
            if any(isinstance(value, float) and not math.isfinite(value) for value in data):
                raise NotServing(f"{endpoint.url}: {name} is not finite")


def wait_for_responses(
    endpoint: ServiceEndpoint, expected: Expected, *, seconds: float, poll_seconds: float, rounds: int = 3
) -> None:
    """Repeat the requests until every task has passed `rounds` times in a row.

    Pods of the revision before may respond for a while after the new one is ready. Raises NotServing with the last
    reason when the time is up.
    """
    end = time.monotonic() + seconds
    right = 0
    while True:
        try:
            check_responses(endpoint, expected)
            right += 1
            if right >= rounds:
                return
        except NotServing:
            right = 0
            if time.monotonic() > end:
                raise
        time.sleep(poll_seconds)
