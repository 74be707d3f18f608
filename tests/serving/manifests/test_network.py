"""Network policies and users: as narrow as port and caller, and fit for clusters with other DNS and other user ids."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.manifests.network_rules import may_enter, may_leave
from serving.manifests.pods import pods_of, selects
from tests.serving.manifests.conftest import Overlays, find
from tests.serving.manifests.test_components import combine

Documents = list[dict[str, Any]]


def policies(rendered: Documents) -> Documents:
    return [document for document in rendered if document["kind"] == "NetworkPolicy"]


@pytest.mark.parametrize("name", ["gpu", "staging"])
def test_monitoring_reaches_metrics_ports_alone(overlays: Overlays, name: str):
    opened = {}
    for policy in policies(overlays[name]):
        for rule in policy["spec"].get("ingress", ()):
            if "monitoring" in str(rule["from"]):
                (caller,) = rule["from"]
                assert caller["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
                opened[policy["metadata"]["name"]] = [entry["port"] for entry in rule["ports"]]
    assert opened == {"recommender-metrics": [8002], "recommender-metrics-rest": [8080]}


@pytest.mark.parametrize(("name", "port"), [("gpu", 6379), ("staging", 6379), ("gpu", 6570), ("staging", 6570)])
def test_a_store_admits_the_pods_that_use_it_and_no_whole_namespace(overlays: Overlays, name: str, port: int):
    callers = [
        caller
        for policy in policies(overlays[name])
        for rule in policy["spec"].get("ingress", ())
        if port in [entry["port"] for entry in rule["ports"]]
        for caller in rule["from"]
    ]
    assert callers
    assert all(caller.get("podSelector") for caller in callers)


def test_triton_is_reached_by_those_who_call_it(overlays: Overlays):
    rendered = overlays["staging"]
    pods = {found.path.removeprefix("spec."): found for found in pods_of(rendered)}
    redis = next(found for found in pods_of(rendered) if found.document == "Deployment/redis")
    permitted = policies(rendered)
    assert may_enter(permitted, pods["transformer"], pods["predictor"], 9000)
    assert may_enter(permitted, pods["explainer"], pods["predictor"], 9000)
    for caller, port in ((redis, 9000), (pods["transformer"], 8080), (pods["transformer"], 8002)):
        assert not may_enter(permitted, caller, pods["predictor"], port)
    assert not may_leave(permitted, redis, pods["predictor"], 9000)


def test_the_name_that_a_transformer_resolves_is_a_headless_service_of_its_triton_pods(overlays: Overlays):
    """KServe labels the pods of an InferenceService's predictor `app: isvc.<name>-predictor`."""
    rendered = overlays["gpu"]
    services = {one["metadata"]["name"]: one for one in rendered if one["kind"] == "Service"}
    (host,) = [
        argument.removeprefix("--predictor_host=")
        for argument in find(rendered, "InferenceService/recommender")["spec"]["transformer"]["containers"][0]["args"]
        if argument.startswith("--predictor_host=")
    ]
    for name in ("recommender", "recommender-canary", "recommender-shadow"):
        resolved = host.replace("$(INFERENCE_SERVICE)", name).replace("$(POD_NAMESPACE)", "polytask")
        service = services[resolved.removesuffix(".polytask:9000")]
        assert service["metadata"]["namespace"] == "polytask"
        assert service["spec"]["clusterIP"] == "None"
        assert service["spec"]["publishNotReadyAddresses"] is False
        assert service["spec"]["selector"] == {"app": f"isvc.{name}-predictor"}
        assert [port["port"] for port in service["spec"]["ports"]] == [9000]


def fixed(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (key for key in value if key in ("runAsUser", "runAsGroup", "fsGroup"))
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from fixed(entry)


def test_openshift_gets_no_fixed_user(tmp_path: Path):
    components = ("cpu", "redis", "redis-persistence", "feast-registry", "openshift", "explainer")
    rendered = combine(tmp_path, components)
    assert [name for document in rendered for name in fixed(document)] == []
    assert len(list(pods_of(rendered))) == 5


@pytest.mark.parametrize(
    ("component", "pod", "port"),
    [
        ("metadata", "InferenceService/recommender spec.predictor", 80),
        ("object-storage", "InferenceService/recommender spec.predictor", 7480),
        ("redis-tls", "InferenceService/recommender spec.transformer", 6380),
        ("postgres", "Deployment/feast-registry spec.template.spec", 5432),
        ("telemetry", "InferenceService/recommender spec.transformer", 4318),
    ],
)
def test_extra_egress_is_permitted_by_its_component_alone(component: str, pod: str, port: int, tmp_path: Path):
    def permitted(*components: str) -> bool:
        folder = tmp_path / str(len(components))
        folder.mkdir()
        rendered = combine(folder, ("cpu", "feast-registry", *components))
        (client,) = (found for found in pods_of(rendered) if f"{found.document} {found.path}" == pod)
        return may_leave(policies(rendered), client, None, port)

    assert not permitted()
    assert permitted(f"egress/{component}")


def test_names_are_found_with_a_node_local_cache_and_on_openshift(tmp_path: Path):
    rendered = combine(tmp_path, ("cpu", "redis", "feast-registry", "explainer", "egress/dns"))
    found = [policy["spec"] for policy in policies(rendered) if policy["metadata"]["name"].startswith("egress-dns")]
    for spec in found:
        assert [(rule["to"], {entry["port"] for entry in rule["ports"]}) for rule in spec["egress"]] == [
            ([{"ipBlock": {"cidr": "169.254.20.10/32"}}], {53}),
            ([{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "openshift-dns"}}}], {5353}),
        ]
    for pods in pods_of(rendered):
        looks_up = pods.document != "Deployment/redis"
        assert any(selects(spec["podSelector"], pods.labels) for spec in found) == looks_up
    # A policy that selects every pod would forbid all other egress to the pods of others.
    assert not any(selects(spec["podSelector"], {"workflows.argoproj.io/workflow": "a"}) for spec in found)


def test_tokens_are_checked_wherever_callers_arrive(tmp_path: Path):
    rendered = combine(tmp_path, ("cpu", "redis", "feast-registry", "explainer", "jwt"))
    by_part: dict[str, dict[str, Any]] = {}
    for document in rendered:
        if document["apiVersion"] == "security.istio.io/v1":
            part = document["spec"]["selector"]["matchLabels"].get("component", "")
            by_part.setdefault(part, {})[document["kind"]] = document["spec"]
    assert by_part[""]["PeerAuthentication"]["mtls"] == {"mode": "STRICT"}
    for part, ports in (("transformer", ["8080", "8081"]), ("explainer", ["8080"])):
        (token,) = by_part[part]["RequestAuthentication"]["jwtRules"]
        first = by_part[part]["AuthorizationPolicy"]["rules"][0]
        assert first["from"] == [{"source": {"requestPrincipals": [token["issuer"] + "/*"]}}]
        assert first["to"] == [{"operation": {"ports": ports, "notPaths": ["/metrics"]}}]
    sources = [rule["from"][0]["source"] for rule in by_part["predictor"]["AuthorizationPolicy"]["rules"]]
    assert sources == [{"serviceAccounts": ["recommender"]}, {"namespaces": ["monitoring"]}]


def test_the_mesh_reaches_every_sidecar(tmp_path: Path):
    rendered = combine(tmp_path, ("cpu", "redis", "feast-registry", "explainer", "jwt"))
    (namespace,) = (document for document in rendered if document["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["istio-injection"] == "enabled"
    assert all(may_leave(policies(rendered), pods, None, 15012) for pods in pods_of(rendered))
