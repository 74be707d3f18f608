"""Several `storageUris`: one volume for what is copied, one for each claim, as the real manager makes them."""

import pytest

from tests.cluster.api import Object
from tests.cluster.kserve_storage_uris import common_parent
from tests.cluster.storage import SECURITY
from tests.cluster.test_kserve_rules import made_small, small

TWO = [{"uri": "s3://b/6", "mountPath": "/mnt/models/6"}, {"uri": "s3://b/7", "mountPath": "/mnt/models/7"}]
CLAIM = {"uri": "pvc://claim", "mountPath": "/mnt/claims/claim"}


def pod_of(*addresses: Object) -> Object:
    """The transformer's pod."""
    service = small()
    service["spec"]["transformer"]["storageUris"] = list(addresses)
    pod: Object = made_small(service)["shop-transformer"]["spec"]["template"]["spec"]
    return pod


def test_two_addresses_are_copied_into_one_volume_above_both():
    pod = pod_of(*TWO)
    (fetching,) = pod["initContainers"]
    assert fetching["args"] == ["s3://b/6", "/mnt/models/6", "s3://b/7", "/mnt/models/7"]
    assert fetching["volumeMounts"] == [{"name": "mnt-models", "mountPath": "/mnt/models"}]
    assert fetching["securityContext"] == SECURITY
    assert pod["volumes"] == [{"name": "mnt-models", "emptyDir": {}}]
    assert pod["containers"][0]["volumeMounts"] == [
        {"name": "mnt-models", "mountPath": "/mnt/models", "readOnly": True}
    ]


def test_a_single_address_is_copied_to_its_own_path():
    pod = pod_of(TWO[0])
    assert pod["initContainers"][0]["args"] == ["s3://b/6", "/mnt/models/6"]
    assert pod["volumes"] == [{"name": "mnt-models-6", "emptyDir": {}}]
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/mnt/models/6"


def test_a_claim_is_mounted_beside_what_is_copied():
    pod = pod_of(*TWO, CLAIM)
    assert pod["volumes"] == [
        {"name": "mnt-claims-claim", "persistentVolumeClaim": {"claimName": "claim"}},
        {"name": "mnt-models", "emptyDir": {}},
    ]
    assert pod["containers"][0]["volumeMounts"] == [
        {"name": "mnt-claims-claim", "mountPath": "/mnt/claims/claim", "readOnly": True},
        {"name": "mnt-models", "mountPath": "/mnt/models", "readOnly": True},
    ]
    assert pod["initContainers"][0]["securityContext"] == SECURITY


def test_a_claim_is_mounted_whole():
    pod = pod_of({"uri": "pvc://claim/models/7", "mountPath": "/mnt/models"})
    assert "subPath" not in pod["containers"][0]["volumeMounts"][0]


@pytest.mark.parametrize("first", [CLAIM, {"uri": "ftp://models/6", "mountPath": "/mnt/models/5"}])
def test_where_no_storage_container_takes_the_first_address_the_initializer_is_unrestricted(first: Object):
    pod = pod_of(first, *TWO)
    assert "securityContext" not in pod["initContainers"][0]


def test_paths_that_share_the_root_alone_are_refused():
    with pytest.raises(LookupError, match="must have a common parent directory"):
        pod_of(TWO[0], {"uri": "s3://b/7", "mountPath": "/opt/7"})


@pytest.mark.parametrize(
    "paths, parent",
    [
        (["/mnt/models"], "/mnt/models"),
        (["/mnt/models/6", "/mnt/models/7"], "/mnt/models"),
        (["/mnt/models", "/mnt/models/7"], "/mnt/models"),
        (["/mnt/models6", "/mnt/models7"], "/mnt"),
        (["/a", "/b"], "/"),
    ],
)
def test_the_common_parent_is_of_whole_folders(paths: list[str], parent: str):
    assert common_parent(paths) == parent
