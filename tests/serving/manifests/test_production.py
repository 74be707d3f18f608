"""Production survives the loss of a pod, of a node, and of Redis' process."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as Unavailable
from redis.retry import Retry

from benchmarks.redis_server import find_redis
from serving.local.triton import choose_ports
from serving.manifests.crd_schemas import Schemas, check_against_crds
from serving.manifests.pods import pods_of, selects
from tests.serving.manifests.conftest import Overlays, find

PARTS = ("predictor", "transformer")


@pytest.mark.parametrize("part", PARTS)
def test_two_pods_on_different_nodes_of_which_one_stays(overlays: Overlays, part: str):
    rendered = overlays["gpu"]
    spec = find(rendered, "InferenceService/recommender")["spec"][part]
    assert spec["minReplicas"] >= 2
    (constraint,) = spec["topologySpreadConstraints"]
    assert (constraint["topologyKey"], constraint["maxSkew"]) == ("kubernetes.io/hostname", 1)
    budget = find(rendered, f"PodDisruptionBudget/recommender-{part}")["spec"]
    assert (budget.get("minAvailable"), budget.get("maxUnavailable")) == (1, None)
    (pods,) = (pods for pods in pods_of(rendered) if pods.path == f"spec.{part}")
    assert selects(constraint["labelSelector"], pods.labels)
    assert selects(budget["selector"], pods.labels)


def test_kserves_definition_knows_the_constraint(overlays: Overlays, schemas: Schemas):
    assert check_against_crds(find(overlays["gpu"], "InferenceService/recommender"), schemas) == []


def redis_arguments(rendered: list[dict[str, Any]], folder: Path, port: int) -> list[str]:
    (container,) = find(rendered, "Deployment/redis")["spec"]["template"]["spec"]["containers"]
    (mount,) = container["volumeMounts"]
    arguments = [str(folder) if entry == mount["mountPath"] else entry for entry in container["args"]]
    return [*(entry.replace("$(REDIS_PASSWORD)", "secret") for entry in arguments), "--port", str(port)]


def test_redis_keeps_its_features_over_a_restart(overlays: Overlays, tmp_path: Path):
    """The arguments of the manifest, with the redis-server of the environment."""
    retry = Retry(ConstantBackoff(0.1), 100, (Unavailable,))
    for expected in (None, b"42"):
        (port,) = choose_ports(None)
        process = subprocess.Popen([str(find_redis()), *redis_arguments(overlays["gpu"], tmp_path, port)])
        try:
            client = redis.Redis(port=port, password="secret", retry=retry)
            assert client.get("feature") == expected
            client.set("feature", "42")
        finally:
            process.terminate()
            process.wait(20)
