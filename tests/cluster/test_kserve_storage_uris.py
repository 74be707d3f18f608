"""Several `storageUris`: one volume for what is copied, one for each claim, as the real manager makes them."""

from collections.abc import Callable

import pytest

from tests.cluster.api import Api, ApiError, Object, wait_for
from tests.cluster.kserve_storage_uris import common_parent
from tests.cluster.storage import SECURITY
from tests.cluster.test_kserve_rules import made_small, small, without_defaults

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


@pytest.mark.cluster
@pytest.mark.parametrize("addresses", [[*TWO, CLAIM], [CLAIM, *TWO]], ids=["copied-first", "claim-first"])
def test_a_manager_makes_the_pod_that_the_rules_say(
    addresses: list[Object], api: Api, clean: Callable[[str], str], restricted: None
):
    """The stand-in, and the real manager where KSERVE_MANAGER names it."""
    namespace = clean(f"storage-uris-{addresses[0]['uri'].partition(':')[0]}")
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, "tests")
    arguments = ["--model_name=shop", "--predictor_host=shop-predictor:80", "--http_port=8080"]
    spec = {
        "predictor": {
            "model": {
                "modelFormat": {"name": "triton"},
                "runtime": "kserve-tritonserver",
                "protocolVersion": "grpc-v2",
                "storageUri": "s3://b/7",
            }
        },
        "transformer": {
            "containers": [{"name": "kserve-container", "image": "t:1", "args": arguments}],
            "storageUris": addresses,
        },
    }
    annotations = {"serving.kserve.io/deploymentMode": "Standard", "serving.kserve.io/autoscalerClass": "none"}
    metadata = {"name": "shop", "namespace": namespace, "annotations": annotations}
    api.apply(
        {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": metadata, "spec": spec},
        "tests",
    )
    found = wait_for("the Deployment", lambda: api.get("apps/v1", "Deployment", "shop-transformer", namespace), 30)
    pod = found["spec"]["template"]["spec"]
    expected = pod_of(*addresses)
    assert pod["containers"][0]["args"] == arguments  # nothing is added to what is given
    assert without_defaults(pod["containers"][0]["volumeMounts"]) == expected["containers"][0]["volumeMounts"]
    assert without_defaults(pod["volumes"]) == expected["volumes"]
    (fetching,) = without_defaults(pod["initContainers"])
    (wanted,) = expected["initContainers"]
    for field in ("args", "env", "image", "resources", "securityContext", "volumeMounts"):
        assert fetching.get(field) == wanted.get(field), field


@pytest.mark.cluster
def test_a_manager_refuses_paths_without_a_common_parent(api: Api, clean: Callable[[str], str]):
    namespace = clean("storage-uris-refused")
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, "tests")
    service = small()
    service["metadata"]["namespace"] = namespace
    service["spec"]["predictor"]["model"] |= {"modelFormat": {"name": "triton"}, "runtime": "kserve-tritonserver"}
    service["spec"]["transformer"]["storageUris"] = [TWO[0], {"uri": "s3://b/7", "mountPath": "/opt/7"}]
    with pytest.raises(ApiError, match="storage paths must have a common parent directory"):
        api.apply({"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", **service}, "tests")
