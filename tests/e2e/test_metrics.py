"""Every metric of an alert, a dashboard panel or the autoscaler is exported by the live servers."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from polytask.client import RecommenderClient
from serving.local.stack import LocalStack
from serving.rollout.errors import NotServing
from serving.rollout.smoke_service import Expected, ServiceEndpoint, check_responses

COMPONENTS = Path(__file__).parents[2] / "manifests" / "components"

# What kube-state-metrics exports, which Prometheus' operator brings.
CLUSTER = {"kube_pod_container_status_restarts_total": {"namespace", "pod", "container"}}


def recorded() -> set[str]:
    """The series that the rules themselves record."""
    alerts = yaml.safe_load((COMPONENTS / "monitoring" / "alerts.yaml").read_text(encoding="utf-8"))
    return {rule["record"] for group in alerts["spec"]["groups"] for rule in group["rules"] if "record" in rule}


# Labels that Prometheus adds when it scrapes a pod, and the one of a histogram's buckets.
SCRAPED = {"namespace", "pod", "le"}


def queries() -> Iterator[tuple[str, str]]:
    """Where a query stands, and the query."""
    alerts = yaml.safe_load((COMPONENTS / "monitoring" / "alerts.yaml").read_text(encoding="utf-8"))
    for group in alerts["spec"]["groups"]:
        for rule in group["rules"]:
            yield f"alert {rule.get('alert') or rule['record']}", rule["expr"]
    dashboard = json.loads((COMPONENTS / "monitoring" / "recommender.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    keda = yaml.safe_load((COMPONENTS / "keda" / "kustomization.yaml").read_text(encoding="utf-8"))
    for step in yaml.safe_load(keda["patches"][0]["patch"]):
        if step["path"] == "/spec/predictor/autoScaling":
            for metric in step["value"]["metrics"]:
                yield "KEDA", metric["external"]["metric"]["query"]


def names_and_labels(query: str) -> tuple[set[str], set[str]]:
    """The metrics of a query, and the labels that separate its series. Raises ValueError for bad PromQL."""
    names: set[str] = set()
    labels: set[str] = set()
    rest: list[Any] = [promql_parser.parse(re.sub(r"\$__rate_interval", "5m", query))]
    while rest:
        part = rest.pop()
        if isinstance(part, promql_parser.VectorSelector):
            names.add(part.name)
            labels |= {matcher.name for matcher in part.matchers.matchers}
        elif isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
            labels |= set(part.modifier.labels)
        rest += [getattr(part, field) for field in ("lhs", "rhs", "expr", "vector_selector") if hasattr(part, field)]
        rest += getattr(part, "args", [])
    return names, labels


@pytest.fixture(scope="module")
def live(small_stack: LocalStack) -> dict[str, set[str]]:
    """Metric -> labels, of Triton and of the transformer, after some requests."""
    with RecommenderClient(small_stack.grpc_url) as client:
        client.recommend(10, query="a film")
    found: dict[str, set[str]] = {}
    for url in (f"http://127.0.0.1:{small_stack.triton.metrics_port}/metrics", f"{small_stack.rest_url}/metrics"):
        with urllib.request.urlopen(url, timeout=10) as response:
            lines = response.read().decode().splitlines()
        for line in lines:
            match = re.match(r"([a-zA-Z_:]\w*)(?:\{(.*)\})? ", line)
            if match:
                found.setdefault(match[1], set()).update(re.findall(r'(\w+)="', match[2] or ""))
    return found


@pytest.mark.parametrize(("where", "query"), queries())
def test_every_query_asks_for_metrics_that_exist(where: str, query: str, live: dict[str, set[str]]):
    names, labels = names_and_labels(query)
    assert names, where
    known = {**live, **CLUSTER, **{key: {"namespace"} for key in recorded()}}
    assert names <= known.keys()
    assert labels <= SCRAPED.union(*(known[name] for name in names))


def test_queries_are_read_whole():
    query = 'sum by (model) (rate(nv_a{pod=~"x.*"}[2m])) / 1e6 > clamp_min(count(b_total) by (q), 0.5)'
    assert names_and_labels(query) == ({"nv_a", "b_total"}, {"model", "pod", "q"})
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        names_and_labels("sum(rate(nv_a[2m])")
    assert len(list(queries())) > 15


def test_the_deploy_steps_questions_are_answered_by_a_live_transformer(small_stack: LocalStack):
    with RecommenderClient(small_stack.grpc_url) as client:
        answer = client.recommend(10)
    tasks = ["item", "user", "scene"]
    endpoint = ServiceEndpoint(small_stack.rest_url)
    check_responses(endpoint, Expected(answer.model_version, answer.contract_checksum, tasks))
    with pytest.raises(NotServing, match="deployed: 1, "):
        check_responses(endpoint, Expected("1", answer.contract_checksum, tasks))
    with pytest.raises(NotServing, match=r"400: .*nonsense"):
        check_responses(endpoint, Expected(answer.model_version, answer.contract_checksum, ["nonsense"]))
    endpoint.close()
