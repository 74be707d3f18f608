"""The deployer's rights: everything works with exactly the verbs of its Roles, and nothing without any one of them."""

import itertools
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.rollout.errors import RolloutError
from serving.rollout.release import Release
from serving.rollout.roll_out import roll_out
from tests.cluster.api import Object, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.documents import documents
from tests.cluster.overlays import MANIFESTS, apply, combined
from tests.cluster.rollouts import Live, deployer, quick_settings

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("restricted")]
Make = Callable[..., Release]
FILES = (MANIFESTS / "base" / "deployer.yaml", MANIFESTS / "components" / "canary" / "deployer.yaml")
ROLES = [one for path in FILES for one in documents(path) if one["kind"] == "Role"]
# Role, number of the rule, resource, verb.
RIGHTS = [
    (role["metadata"]["name"], number, resource, verb)
    for role in ROLES
    for number, rule in enumerate(role["rules"])
    for resource in rule["resources"]
    for verb in rule["verbs"]
]
NUMBERS = itertools.count()
EVERYTHING = ["ModelDeployed", "CanaryStep", "CanaryStep", "ModelDeployed", "CanaryPromoted"]


def without(role: Object, number: int, resource: str, verb: str) -> Object:
    """The Role without one verb of one resource."""
    role = deepcopy(role)
    rule = role["rules"].pop(number)
    others = {**rule, "resources": [one for one in rule["resources"] if one != resource]}
    less = {**rule, "resources": [resource], "verbs": [one for one in rule["verbs"] if one != verb]}
    role["rules"] += [one for one in (others, less) if one["resources"] and one["verbs"]]
    return role


def everything(plane: ControlPlane, namespace: str, url: str, release: Make) -> str:
    """A first model and a canary. Returns what went wrong, nothing where all of it worked."""
    cluster = deployer(plane, namespace)
    settings = quick_settings(url, answer_seconds=10.0)
    try:
        roll_out(cluster, release(1), settings)
        roll_out(cluster, release(2), replace(settings, strategy="canary"))
    except RolloutError as error:
        return str(error)
    finally:
        cluster.close()
    written = Live(plane, namespace).reasons()
    return "" if written == EVERYTHING else f"Events: {written}"


@pytest.fixture
def namespace(plane: ControlPlane, clean: Callable[[str], str], tmp_path: Path) -> str:
    name = clean(f"rights-{next(NUMBERS)}")
    apply(plane, combined(tmp_path, ["cpu", "canary"], name))
    return name


def test_everything_works_with_the_rights_of_the_roles(
    plane: ControlPlane, namespace: str, address: str, release: Make
):
    assert everything(plane, namespace, address, release) == ""


@pytest.mark.parametrize(("role", "number", "resource", "verb"), RIGHTS, ids=lambda value: str(value))
def test_each_right_is_needed(
    role: str, number: int, resource: str, verb: str, plane: ControlPlane, namespace: str, address: str, release: Make
):
    (found,) = [one for one in ROLES if one["metadata"]["name"] == role]
    less: dict[str, Any] = without(found, number, resource, verb)
    less["metadata"] = {**less["metadata"], "namespace": namespace}
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{role}"
    plane.api.call("PATCH", path, {"rules": less["rules"]})
    wait_for("the right is gone", lambda: not _may(plane, namespace, found["rules"][number], resource, verb))
    problem = everything(plane, namespace, address, release)
    assert "is forbidden" in problem or (resource == "events" and problem == "Events: []"), problem


def _may(plane: ControlPlane, namespace: str, rule: Object, resource: str, verb: str) -> bool:
    """Whether the deployer has a right, as the API server's authorizer decides."""
    attributes = {"namespace": namespace, "verb": verb, "group": rule["apiGroups"][0], "resource": resource}
    if rule.get("resourceNames"):
        attributes["name"] = rule["resourceNames"][0]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{namespace}:recommender-deployer",
            "resourceAttributes": attributes,
        },
    }
    answer = plane.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])
