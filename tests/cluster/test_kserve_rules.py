"""The stand-in's rules compared with recordings of KServe's real manager, and with a small one that is kept here."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
import yaml

from polytask import __version__
from tests.cluster.api import Object
from tests.cluster.custom_resources import recordings_folder
from tests.cluster.documents import documents
from tests.cluster.kserve_pods import admitted
from tests.cluster.kserve_rules import STOP, made_of, parts_of
from tests.cluster.kserve_validation import refusal
from tests.cluster.programs import HERE
from tests.cluster.storage import SECURITY

RECORDINGS = recordings_folder()
NOT_FOUND = f"{RECORDINGS} not found: recordings of KServe's manager are handed out with its CustomResourceDefinitions"
NO_RECORDINGS = pytest.param("", marks=pytest.mark.skip(reason=NOT_FOUND))
RECORDED = sorted(path.stem for path in RECORDINGS.glob("*.yaml") if "knative" not in path.stem)
# Written once, when the object is made: later annotations of the InferenceService do not reach them.
KEPT = ("Service", "ScaledObject")
# What the API server adds where a field is missing.
DEFAULTS: dict[str, Any] = {
    "apiVersion": "v1",  # of a fieldRef
    "defaultMode": 420,
    "dnsPolicy": "ClusterFirst",
    "failureThreshold": 3,
    "imagePullPolicy": "IfNotPresent",
    "internalTrafficPolicy": "Cluster",
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
    "periodSeconds": 10,
    "progressDeadlineSeconds": 600,
    "restartPolicy": "Always",
    "revisionHistoryLimit": 10,
    "schedulerName": "default-scheduler",
    "scheme": "HTTP",
    "sessionAffinity": "None",
    "successThreshold": 1,
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "timeoutSeconds": 1,
    "type": "ClusterIP",
}


def runtime_and_containers() -> tuple[Object, list[Object]]:
    """The cluster-wide objects of the recordings: Triton's runtime and the restricted storage container."""
    runtime, container = documents(HERE / "kserve_defaults.yaml")
    container["spec"]["container"]["securityContext"] = SECURITY
    return runtime, [container]


def without_defaults(value: Any) -> Any:
    """The same without what the API server added, so that both sides can be compared."""
    if isinstance(value, dict):
        kept = {key: without_defaults(entry) for key, entry in value.items() if DEFAULTS.get(key, ...) != entry}
        if "serviceAccountName" in kept:
            kept.pop("serviceAccount", None)
        return kept
    return [without_defaults(entry) for entry in value] if isinstance(value, list) else value


def before_the_rollout(service: Object) -> Object:
    """The InferenceService as it was applied first: without the fields of the deploy step."""
    earlier = deepcopy(service)
    for part in parts_of(earlier):
        spec = earlier["spec"][part]
        for field in ("annotations", "storageUris"):
            spec.pop(field, None)
        (spec.get("model") or {}).pop("storageUri", None)
    return earlier


def of(kind: str, found: list[Object]) -> dict[str, Object]:
    return {one["metadata"]["name"]: one for one in found if one["kind"] == kind}


def comparable(one: Object) -> Object:
    """An object without the defaults; the API server fills an HPA's empty behavior, so it is left out."""
    one = without_defaults(one)
    if one["kind"] == "HorizontalPodAutoscaler":
        one["spec"].pop("behavior")
    return one


@pytest.fixture(params=RECORDED or [NO_RECORDINGS])
def recording(request: pytest.FixtureRequest) -> list[Object]:
    """What the manager made; the tag of our images is the one at the time of the recording, and not compared."""
    text = (RECORDINGS / f"{request.param}.yaml").read_text(encoding="utf-8")
    return [*yaml.safe_load_all(re.sub(r"(ghcr\.io/polytask/[a-z-]+):[0-9.]+", rf"\1:{__version__}", text))]


def test_the_rules_make_what_the_real_manager_made(recording: list[Object]):
    service, *recorded = recording
    runtime, containers = runtime_and_containers()
    replicas = {name: one["spec"]["replicas"] for name, one in of("Deployment", recorded).items()}
    made = made_of(service, runtime, containers, replicas)
    first = made_of(before_the_rollout(service), runtime, containers)
    for kind in ("Deployment", "Service", "HorizontalPodAutoscaler", "ScaledObject"):
        expected, found = of(kind, recorded), of(kind, first if kind in KEPT else made)
        assert found.keys() == expected.keys()
        for name in expected:
            assert comparable(found[name]) == comparable(expected[name]), f"{kind} {name}"


def test_the_webhook_makes_the_pods_that_the_real_one_made(recording: list[Object]):
    _, *recorded = recording
    _, containers = runtime_and_containers()
    deployments = of("Deployment", recorded)
    pods = [one for one in recorded if one["kind"] == "Pod"]
    assert pods
    for pod in pods:
        template = deployments[pod["metadata"]["labels"]["app"].removeprefix("isvc.")]["spec"]["template"]
        made = admitted({"metadata": template["metadata"], "spec": template["spec"]}, containers)
        assert made["metadata"]["annotations"] == pod["metadata"]["annotations"]
        found, expected = without_defaults(made["spec"]), without_defaults(pod["spec"])
        found.pop("tolerations", None)  # the recordings' pods have none, since every pod gets some
        # The image is `latest`, for which the API server's default is Always.
        for agent in (one for one in expected["containers"] if one["name"] == "agent"):
            assert agent.pop("imagePullPolicy") == "Always"
        assert found == expected


def small(**changes: Any) -> Object:
    """An InferenceService with what the rules look at."""
    service: Object = {
        "metadata": {
            "name": "shop",
            "namespace": "live",
            "labels": {"team": "search"},
            "annotations": {"serving.kserve.io/autoscalerClass": "none", "modelFormat": "triton"},
        },
        "spec": {
            "predictor": {
                "minReplicas": 2,
                "annotations": {"polytask.dev/model-version": "7"},
                "model": {
                    "args": ["--load-model=multitask"],
                    "env": [{"name": "LEVEL", "value": "1"}],
                    "runtimeVersion": "26.08-py3",
                    "storageUri": "s3://models/shop/7/repository",
                    "ports": [{"name": "h2c", "containerPort": 9000}, {"name": "metrics", "containerPort": 8002}],
                },
            },
            "transformer": {
                "minReplicas": 3,
                "containers": [{"name": "kserve-container", "image": "t:1", "args": ["--model_name=shop"]}],
                "storageUris": [{"uri": "s3://models/shop/7", "mountPath": "/mnt/models"}],
            },
        },
    }
    service["metadata"]["annotations"] |= changes
    return service


def made_small(service: Object, kind: str = "Deployment") -> Mapping[str, Object]:
    runtime, containers = runtime_and_containers()
    return of(kind, made_of(service, runtime, containers))


def test_names_replicas_and_labels_follow_the_service():
    made = made_small(small())
    assert {name: one["spec"]["replicas"] for name, one in made.items()} == {"shop-predictor": 2, "shop-transformer": 3}
    template = made["shop-predictor"]["spec"]["template"]["metadata"]
    assert template["labels"] == {
        "team": "search",
        "app": "isvc.shop-predictor",
        "component": "predictor",
        "serving.kserve.io/inferenceservice": "shop",
    }
    assert "modelFormat" not in template["annotations"]
    assert template["annotations"]["polytask.dev/model-version"] == "7"


def test_the_predictor_is_the_runtimes_container_with_the_models_fields():
    (container,) = made_small(small())["shop-predictor"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "nvcr.io/nvidia/tritonserver:26.08-py3"
    assert container["args"][0] == "tritonserver" and container["args"][-1] == "--load-model=multitask"
    assert [one["name"] for one in container["env"]] == ["LEVEL", "INFERENCE_SERVICE_NAME"]
    ports = made_small(small(), "Service")["shop-predictor"]["spec"]["ports"]
    assert [(one["name"], one["port"], one["targetPort"]) for one in ports] == [
        ("h2c", 80, 9000),
        ("metrics", 8002, 8002),
    ]


@pytest.mark.parametrize(
    "image, expected",
    [
        ("mirror:5000/triton", "mirror:5000/triton:26.08-py3"),
        ("mirror:5000/triton:25.01", "mirror:5000/triton:26.08-py3"),
        (f"triton@sha256:{'a' * 64}", f"triton@sha256:{'a' * 64}"),
    ],
)
def test_the_runtime_version_is_the_tag_of_an_image_without_a_digest(image: str, expected: str):
    service = small()
    service["spec"]["predictor"]["model"]["image"] = image
    (container,) = made_small(service)["shop-predictor"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == expected


def test_a_transformer_finds_its_predictor_and_its_bundle():
    pod = made_small(small())["shop-transformer"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == [
        *("--model_name=shop", "--predictor_host", "shop-predictor.live", "--http_port", "8080")
    ]
    (fetching,) = pod["initContainers"]
    assert fetching["args"] == ["s3://models/shop/7", "/mnt/models"]
    assert fetching["securityContext"] == SECURITY
    service = small()
    service["spec"]["transformer"]["storageUris"] = [{"uri": "pvc://models", "mountPath": "/mnt/models"}]
    pod = made_small(service)["shop-transformer"]["spec"]["template"]["spec"]
    assert "initContainers" not in pod
    assert pod["volumes"] == [{"name": "mnt-models", "persistentVolumeClaim": {"claimName": "models"}}]


def test_a_predictor_without_a_model_waits_for_an_agent():
    service = small()
    del service["spec"]["predictor"]["model"]["storageUri"]
    template = made_small(service)["shop-predictor"]["spec"]["template"]
    assert template["spec"]["containers"][0]["args"][-1] == "--model-control-mode=explicit"
    pod = admitted({"metadata": template["metadata"], "spec": template["spec"]}, [])
    assert [one["name"] for one in pod["spec"]["containers"]] == ["kserve-container", "agent"]


def test_a_model_on_a_claim_is_mounted_by_its_folder():
    service = small()
    service["spec"]["predictor"]["model"]["storageUri"] = "pvc://models/7/repository"
    template = made_small(service)["shop-predictor"]["spec"]["template"]
    pod = admitted({"metadata": template["metadata"], "spec": template["spec"]}, [])
    assert "initContainers" not in pod["spec"]
    assert pod["spec"]["containers"][0]["volumeMounts"][-1]["subPath"] == "7/repository"


def test_a_host_name_that_is_too_long_is_refused():
    service = small()
    service["metadata"]["namespace"] = "a" * 50
    with pytest.raises(LookupError, match="failed creating host name"):
        made_small(service)


def test_a_minimum_above_the_maximum_is_refused():
    service = small()
    assert refusal(service) is None
    service["spec"]["transformer"]["maxReplicas"] = 2
    assert refusal(service) == "'MinReplicas' cannot be greater than MaxReplicas"


def test_no_object_is_made_of_a_stopped_service():
    assert not made_small(small(**{STOP: "true"}))


def test_each_autoscaler_gets_its_object():
    assert not made_small(small(), "HorizontalPodAutoscaler")
    horizontal = made_small(small(**{"serving.kserve.io/autoscalerClass": "hpa"}), "HorizontalPodAutoscaler")
    assert horizontal["shop-transformer"]["spec"]["minReplicas"] == 3
    keda = made_small(small(**{"serving.kserve.io/autoscalerClass": "keda"}), "ScaledObject")
    assert keda["shop-predictor"]["spec"]["scaleTargetRef"] == {"name": "shop-predictor"}
