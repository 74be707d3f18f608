"""The requirements of a pod to read its feature store, beyond broken.yaml: hosts outside, and databases."""

import copy
from typing import Any

import pytest

from serving.manifests.feature_store_rules import check_feature_stores
from tests.serving.manifests.conftest import Overlays


def with_settings(documents: list[dict[str, Any]], before: str, after: str) -> list[dict[str, Any]]:
    """The overlay with another feature_store.yaml."""
    changed = copy.deepcopy(documents)
    for document in changed:
        if document["kind"] == "ConfigMap" and before in document.get("data", {}).get("feature_store.yaml", ""):
            document["data"]["feature_store.yaml"] = document["data"]["feature_store.yaml"].replace(before, after)
    assert changed != documents
    return changed


@pytest.mark.parametrize("host", ["cache.example.com:6380", "redis.databases.svc:6380"])
def test_a_managed_redis_needs_egress_to_its_port(overlays: Overlays, host: str):
    changed = with_settings(overlays["gpu"], '"redis:6379,', f'"{host},ssl=true,')
    (problem,) = check_feature_stores(changed)
    assert f"connects to {host}; no NetworkPolicy permits that egress" in problem.message
    for document in changed:
        if document["metadata"]["name"] == "recommender-redis":
            document["spec"]["egress"] = [{"ports": [{"port": 6380, "protocol": "TCP"}]}]
    assert check_feature_stores(changed) == []


def test_a_registry_in_postgres_needs_its_variables_and_its_port(overlays: Overlays):
    address = '"postgresql+psycopg://feast:${FEAST_PASSWORD}@db.example.com/feast"'
    changed = with_settings(
        overlays["gpu"], "{path: /var/lib/feast/registry.db}", f"{{registry_type: sql, path: {address}}}"
    )
    messages = [problem.message for problem in check_feature_stores(changed)]
    assert any("expands FEAST_PASSWORD" in message for message in messages)
    assert any("connects to db.example.com:5432; no NetworkPolicy" in message for message in messages)
