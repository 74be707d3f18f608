"""Whether a canary is good enough to get more requests, task by task."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Literal, Protocol

import httpx
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from serving.rollout.errors import NotServing, RolloutError
from serving.rollout.smoke_service import ServiceEndpoint

SECONDS = 10.0


@dataclass(frozen=True)
class CanaryEndpoint:
    """A canary and the service that it may replace: names of InferenceServices, and addresses of their transformers.

    A response is judged only if its contract checksum is the expected one.
    """

    stable: str
    canary: str
    namespace: str
    stable_endpoint: ServiceEndpoint
    canary_endpoint: ServiceEndpoint
    tasks: Sequence[str]
    stable_contract: str
    canary_contract: str


class Judge(Protocol):
    """Finds reasons to reject a canary."""

    def objections(self, candidate: CanaryEndpoint) -> list[str]:
        """One sentence for each task and measure that is not met; none means: go on."""
        ...


@dataclass(frozen=True)
class ProbeJudge:
    """Sends both services the same requests for every task and compares failures and median times.

    A canary is rejected where a request fails, or where a task takes longer than `slower` times the stable service's
    median and `slack_seconds` more, which keeps noise of a few milliseconds out.
    """

    probes: int = 20
    slower: float = 1.5
    slack_seconds: float = 0.05

    def objections(self, candidate: CanaryEndpoint) -> list[str]:
        """See `Judge`."""
        found = []
        for task in candidate.tasks:
            try:
                before = self._median(candidate.stable_endpoint, task, candidate.stable_contract)
                after = self._median(candidate.canary_endpoint, task, candidate.canary_contract)
            except NotServing as error:
                found.append(f"task {task}: {error}")
                continue
            limit = self.slower * before + self.slack_seconds
            if after > limit:
                found.append(f"task {task}: median {1e3 * after:.0f} ms, at most {1e3 * limit:.0f} ms")
        return found

    def _median(self, endpoint: ServiceEndpoint, task: str, contract: str) -> float:
        times = []
        for _ in range(self.probes):
            start = time.perf_counter()
            answer = endpoint.send_request(task)
            times.append(time.perf_counter() - start)
            answered = str((answer.get("parameters") or {}).get("contract_checksum"))
            if answered != contract:
                raise NotServing(f"{endpoint.url}: serves contract {answered[:12]}, not {contract[:12]}")
        return statistics.median(times)


class Rule(BaseModel):
    """A query for each task. `$task`, `$canary`, `$stable`, `$namespace` stand for names; the worst series counts."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    query: str
    at_most: float | None = None
    at_least: float | None = None
    tasks: tuple[str, ...] | Literal["all"] = "all"


@dataclass(frozen=True)
class PrometheusJudge:
    """Queries of metrics per task. A query without a result counts against the canary: its state is unknown."""

    url: str
    rules: tuple[Rule, ...]
    transport: httpx.BaseTransport | None = field(default=None, repr=False)

    def objections(self, candidate: CanaryEndpoint) -> list[str]:
        """See `Judge`. Raises RolloutError where Prometheus is unavailable."""
        found = []
        with httpx.Client(timeout=SECONDS, transport=self.transport) as client:
            for rule in self.rules:
                for task in candidate.tasks if rule.tasks == "all" else rule.tasks:
                    values = self._values(client, rule, task, candidate)
                    objection = _objection(rule, values)
                    if objection is not None:
                        found.append(f"task {task}: {rule.name}: {objection}")
        return found

    def _values(self, client: httpx.Client, rule: Rule, task: str, candidate: CanaryEndpoint) -> list[float]:
        names = {"task": task, "canary": candidate.canary, "stable": candidate.stable}
        query = Template(rule.query).substitute(names, namespace=candidate.namespace)
        try:
            response = client.get(f"{self.url.rstrip('/')}/api/v1/query", params={"query": query})
            response.raise_for_status()
            result = response.json()["data"]["result"]
            return [float(series["value"][1]) for series in result]
        except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
            raise RolloutError(f"Prometheus at {self.url}: {rule.name}: {type(error).__name__}: {error}") from error


def load_rules(path: Path) -> tuple[Rule, ...]:
    """The rules in a YAML file: a list of mappings. Raises RolloutError with the place of what is wrong."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        rules = tuple(Rule.model_validate(entry) for entry in content)
    except (OSError, yaml.YAMLError, TypeError) as error:
        raise RolloutError(f"{path}: {error}; allowed: a list of rules") from error
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        raise RolloutError(f"{path}: {'.'.join(map(str, detail['loc']))}: {detail['msg']}") from error
    for rule in rules:
        if (rule.at_most is None) == (rule.at_least is None):
            raise RolloutError(f"{path}: {rule.name}: allowed: one of at_most and at_least")
    return rules


def _objection(rule: Rule, values: list[float]) -> str | None:
    if not values or any(math.isnan(value) for value in values):
        return "no data"
    if rule.at_most is not None and max(values) > rule.at_most:
        return f"{max(values):g}, at most {rule.at_most:g}"
    if rule.at_least is not None and min(values) < rule.at_least:
        return f"{min(values):g}, at least {rule.at_least:g}"
    return None
