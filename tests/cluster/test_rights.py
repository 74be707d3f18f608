"""The deployer's rights: everything works with exactly the verbs of its Roles, and nothing without any one of them."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from tests.cluster.api import Object, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.documents import documents
from tests.cluster.overlays import MANIFESTS, apply, combined
from tests.cluster.rollouts import Live, deployer, quick_settings

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("restricted")]
Make = Callable[..., RolloutRelease]
FILES = [MANIFESTS / folder / "deployer.yaml" for folder in ("base", "components/canary", "components/explainer")]
ROLES = [one for path in FILES for one in documents(path) if one["kind"] == "Role"]
NUMBERS = itertools.count()
EVERYTHING = ["ModelDeployed", "CanaryStep", "CanaryStep", "ModelDeployed", "CanaryPromoted"]
EVERYTHING += ["ShadowStarted", "ModelDeployed"]


class Right(NamedTuple):
    """One verb, of one resource, of one object or of all."""

    group: str
    resource: str
    name: str
    verb: str

    @property
    def rule(self) -> Object:
        names = {"resourceNames": [self.name]} if self.name else {}
        return {"apiGroups": [self.group], "resources": [self.resource], "verbs": [self.verb], **names}

    def __str__(self) -> str:
        return "-".join(filter(None, (self.verb, self.resource, self.name)))


def rights_of(role: Object) -> list[Right]:
    """Every single one."""
    return [
        Right(group, resource, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
        for verb in rule["verbs"]
    ]


RIGHTS = sorted({right for role in ROLES for right in rights_of(role)})


def everything(plane: ControlPlane, namespace: str, url: str, release: Make) -> str:
    """A first model, a canary, a shadow that ends. Returns what went wrong, nothing where all of it worked."""
    cluster = deployer(plane, namespace)
    settings = quick_settings(url, response_timeout=10.0)
    try:
        roll_out(cluster, release(1), settings)
        roll_out(cluster, release(2), replace(settings, strategy="canary"))
        roll_out(cluster, release(3), replace(settings, strategy="shadow"))
        roll_out(cluster, release(3), settings)
    except RolloutError as error:
        return str(error)
    finally:
        cluster.close()
    written = Live(plane, namespace).reasons()
    return "" if written == EVERYTHING else f"Events: {written}"


@pytest.fixture
def namespace(plane: ControlPlane, clean: Callable[[str], str], tmp_path: Path) -> str:
    name = clean(f"rights-{next(NUMBERS)}")
    apply(plane, combined(tmp_path, ["cpu", "canary", "explainer"], name))
    return name


def test_everything_works_with_the_rights_of_the_roles(
    plane: ControlPlane, namespace: str, address: str, release: Make
):
    assert everything(plane, namespace, address, release) == ""


@pytest.mark.parametrize("right", RIGHTS, ids=str)
def test_each_right_is_needed(right: Right, plane: ControlPlane, namespace: str, address: str, release: Make):
    for role in ROLES:
        less = [one.rule for one in rights_of(role) if one != right]
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles/{role['metadata']['name']}"
        plane.api.call("PATCH", path, {"rules": less})
    wait_for(f"the right {right} is removed", lambda: not _may(plane, namespace, right))
    problem = everything(plane, namespace, address, release)
    assert "is forbidden" in problem or (right.resource == "events" and problem == "Events: []"), problem


def _may(plane: ControlPlane, namespace: str, right: Right) -> bool:
    """Whether the deployer has a right, as the API server's authorizer decides."""
    attributes = {"namespace": namespace, "verb": right.verb, "group": right.group, "resource": right.resource}
    if right.name:
        attributes["name"] = right.name
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
