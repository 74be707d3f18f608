"""The fields that the deploy step owns, on the InferenceServices of the overlays, against KServe's definitions."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from serving.manifests.crd_schemas import Schemas, check_against_crds
from serving.manifests.inference_service_rules import check_inference_service
from serving.manifests.render import OVERLAYS, documents, render
from serving.rollout.release import RolloutRelease
from serving.rollout.service.revision import Revision, second_service
from tests.serving.manifests.conftest import ROOT, find

Make = Callable[..., RolloutRelease]


@pytest.fixture(scope="module", params=["gpu", "local"])
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The InferenceService of an overlay."""
    return find(documents(render(ROOT / OVERLAYS / request.param)), "InferenceService/recommender")


def deployed(service: dict[str, Any], revision: Revision) -> dict[str, Any]:
    """The service with the revision's fields, as an API server merges them."""
    merged = copy.deepcopy(service)
    for part, fields in revision.fields("recommender")["spec"].items():
        component = merged["spec"][part]
        for name, value in fields.items():
            component[name] = {**component[name], **value} if name == "model" else value
    return merged


def test_a_revision_is_read_back_as_it_was_written(service: dict[str, Any], release: Make):
    assert Revision.of_live(service) is None
    for storage in ("s3://models/small", "pvc://models/small"):
        revision = Revision.of_release(release(7, storage), "rolling")
        assert Revision.of_live(deployed(service, revision)) == revision
    assert revision.serves_the_same_as(Revision.of_release(release(7, storage), "recreate"))
    assert not revision.serves_the_same_as(Revision.of_release(release(8, storage), "rolling"))


def test_an_explainer_gets_the_bundle_of_its_transformer(service: dict[str, Any], release: Make):
    service = copy.deepcopy(service)
    service["spec"]["explainer"] = {"containers": [{"name": "kserve-container"}]}
    without = Revision.of_release(release(7), "rolling")
    revision = Revision.of_release(release(7), "rolling", explainer=True)
    assert not revision.serves_the_same_as(without)
    assert "explainer" not in without.fields("recommender")["spec"]
    live = deployed(service, revision)
    assert Revision.of_live(live) == revision
    for field in ("annotations", "storageUris"):
        assert live["spec"]["explainer"][field] == live["spec"]["transformer"][field]
    assert "explainer" not in second_service(live, "recommender-canary", revision)["spec"]


@pytest.mark.parametrize("storage", ["s3://models/small", "pvc://models/small"])
def test_what_is_deployed_and_its_canary_keep_every_rule(service: dict[str, Any], storage: str, release: Make):
    live = deployed(service, Revision.of_release(release(7, storage), "rolling"))
    canary = second_service(live, "recommender-canary", Revision.of_release(release(8, storage), None))
    assert check_inference_service(live, deployed=True) == []
    assert check_inference_service(canary, deployed=True) == []


def test_what_is_deployed_and_its_canary_pass_kserves_definitions(
    service: dict[str, Any], release: Make, schemas: Schemas
):
    live = deployed(service, Revision.of_release(release(7), "recreate"))
    canary = second_service(live, "recommender-canary", Revision.of_release(release(8), None))
    assert check_against_crds(live, schemas) == []
    assert check_against_crds(canary, schemas) == []
    misspelt = copy.deepcopy(live)
    misspelt["spec"]["transformer"]["storageUri"] = "s3://models"
    assert check_against_crds(misspelt, schemas) != []
