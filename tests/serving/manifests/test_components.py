"""Components that no overlay has render too, and what they make of the base keeps every rule."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from polytask.errors import PolytaskError
from serving.doctor.cluster import unrestricted
from serving.manifests.builtin_kinds import check_builtin
from serving.manifests.crd_schemas import Schemas, check_against_crds
from serving.manifests.feature_store_rules import check_feature_stores
from serving.manifests.inference_service_rules import check_inference_service
from serving.manifests.pod_rules import check_pods
from serving.manifests.render import documents, render
from serving.triton.model_config import ENGINE_FOLDER
from serving.triton.repository import config_file
from tests.serving.manifests.conftest import ROOT, Overlays, find
from trainer.train_job import LABELS, TRAIN_JOB

MANIFESTS = ROOT / "manifests"
COMBINATIONS = [
    ("gpu", "jwt"),
    ("gpu", "triton-image"),
    ("gpu", "tensorrt"),
    ("cpu", "claims", "hpa"),
    ("gpu", "keda", "canary", "training"),
    ("cpu", "redis", "redis-persistence", "feast-registry", "openshift", "explainer", "egress"),
    ("cpu", "egress/dns", "egress/metadata", "egress/object-storage"),
    ("cpu", "egress/redis-tls", "egress/postgres", "egress/telemetry"),
]
# Applied once by the administrator of a cluster, alone: objects without a namespace.
CLUSTER = {"storage-container"}


def combine(folder: Path, components: tuple[str, ...]) -> list[dict[str, Any]]:
    """The base with some components, as an overlay has them."""
    up = os.path.relpath(MANIFESTS, folder)
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "test",
        "resources": [f"{up}/base"],
        "components": [f"{up}/components/{name}" for name in components],
        "configMapGenerator": [{"name": "feature-store", "literals": ["feature_store.yaml=project: test"]}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return documents(render(folder))


@pytest.mark.parametrize("components", COMBINATIONS, ids="+".join)
def test_components_fit_the_base(components: tuple[str, ...], tmp_path: Path):
    rendered = combine(tmp_path, components)
    problems = [
        problem
        for document in rendered
        for problem in (*check_builtin(document), *check_inference_service(document), *check_pods(document))
    ]
    assert problems == []
    assert check_feature_stores(rendered) == []
    assert {d["metadata"].get("namespace") for d in rendered if d["kind"] != "Namespace"} == {"test"}


def test_every_component_is_in_an_overlay_or_a_combination():
    used = {name for names in COMBINATIONS for name in names}
    for path in MANIFESTS.glob("overlays/*/kustomization.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        used |= {name.removeprefix("../../components/") for name in content["components"]}
    folder = MANIFESTS / "components"
    found = {str(path.parent.relative_to(folder)) for path in folder.glob("**/kustomization.yaml")}
    assert used | CLUSTER == found


def test_the_storage_container_gets_a_restricted_context_and_keeps_all_else(schemas: Schemas):
    """Fields that are left out keep KServe's values: a partial object is merged server-side into the installed one."""
    (document,) = documents(render(MANIFESTS / "components" / "storage-container"))
    assert check_builtin(document) == []
    assert "namespace" not in document["metadata"]
    theirs = {"container": {"name": "storage-initializer"}, "supportedUriFormats": [{"prefix": "s3://"}]}
    theirs["container"] |= document["spec"].pop("container")
    assert document.pop("spec") == {}
    whole = {**document, "spec": theirs}
    assert ("serving.kserve.io/v1alpha1", "ClusterStorageContainer") in schemas
    assert check_against_crds(whole, schemas) == []
    assert unrestricted(theirs["container"]) == []
    readme = (MANIFESTS / "README.md").read_text(encoding="utf-8")
    command = "kubectl apply --server-side --field-manager=polytask-platform -k manifests/components/storage-container"
    assert command in readme  # never by the manager `kubectl`, which may own KServe's fields


def test_a_pod_for_gpus_takes_the_configuration_that_does_not_load_on_a_cpu(tmp_path: Path):
    model = find(combine(tmp_path, ("gpu",)), "InferenceService/recommender")["spec"]["predictor"]["model"]
    assert model["args"][-1] == "--model-config-name=gpu"
    assert config_file("gpu") == "configs/gpu.pbtxt"


def test_tensorrt_keeps_its_engines_and_is_given_the_time_to_build_them(tmp_path: Path):
    rendered = combine(tmp_path, ("gpu", "tensorrt"))
    predictor = find(rendered, "InferenceService/recommender")["spec"]["predictor"]
    model = predictor["model"]
    assert [arg for arg in model["args"] if "model-config" in arg] == ["--model-config-name=tensorrt"]
    assert config_file("tensorrt") == "configs/tensorrt.pbtxt"
    assert {"name": "tensorrt-engines", "mountPath": ENGINE_FOLDER} in model["volumeMounts"]
    (volume,) = (volume for volume in predictor["volumes"] if volume["name"] == "tensorrt-engines")
    claim = find(rendered, f"PersistentVolumeClaim/{volume['persistentVolumeClaim']['claimName']}")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    probe = model["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 1800


def test_tensorrt_without_a_gpu_is_no_environment(tmp_path: Path):
    with pytest.raises(PolytaskError):
        combine(tmp_path, ("cpu", "tensorrt"))


def test_the_explainer_reads_what_the_transformer_reads_and_reaches_triton(tmp_path: Path):
    rendered = combine(tmp_path, ("cpu", "explainer"))
    spec = find(rendered, "InferenceService/recommender")["spec"]
    volumes = [spec[part]["volumes"][0]["configMap"]["name"] for part in ("transformer", "explainer")]
    assert volumes[0] == volumes[1] != "feature-store"  # with the suffix of its content
    (container,) = spec["explainer"]["containers"]
    (transformer,) = spec["transformer"]["containers"]
    assert set(container["args"]) < set(transformer["args"])
    assert [port["containerPort"] for port in container["ports"]] == [8080]
    callers = find(rendered, "NetworkPolicy/recommender-predictor")["spec"]["ingress"][0]["from"]
    assert [caller["podSelector"]["matchLabels"]["component"] for caller in callers] == ["transformer", "explainer"]


def test_gpu_and_cpu_differ_in_accelerator_settings_alone(tmp_path: Path):
    services = {}
    for accelerator in ("cpu", "gpu"):
        (tmp_path / accelerator).mkdir()
        services[accelerator] = find(combine(tmp_path / accelerator, (accelerator,)), "InferenceService/recommender")
    gpu, cpu = services["gpu"]["spec"]["predictor"], services["cpu"]["spec"]["predictor"]
    assert gpu["model"].pop("resources")["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in cpu["model"].pop("resources")["limits"]
    assert gpu.pop("tolerations") and gpu.pop("nodeSelector")
    assert gpu["model"]["args"].pop() == "--model-config-name=gpu"
    assert services["gpu"] == services["cpu"]


def test_the_train_step_may_do_what_it_does_and_nothing_more(tmp_path: Path):
    rendered = combine(tmp_path, ("cpu", "training"))
    rules = find(rendered, "Role/recommender-trainer")["rules"]
    assert [(rule["apiGroups"], rule["resources"], rule["verbs"]) for rule in rules] == [
        ([TRAIN_JOB.group], [TRAIN_JOB.plural], ["get", "create", "patch", "delete"]),
        ([""], ["pods"], ["list"]),
        ([""], ["pods/log"], ["get"]),
    ]
    policy = find(rendered, "NetworkPolicy/recommender-training")["spec"]
    assert policy["podSelector"]["matchLabels"] == LABELS  # what the step puts on the pods
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": LABELS}}]}]


def test_the_deployer_may_do_what_a_rollout_does_and_nothing_more(overlays: Overlays):
    base = find(overlays["local"], "Role/recommender-deployer")["rules"]
    assert [(rule["resources"], rule.get("resourceNames"), rule["verbs"]) for rule in base] == [
        (["inferenceservices"], None, ["create"]),
        (["inferenceservices"], ["recommender"], ["get", "patch"]),
        (["inferenceservices"], ["recommender-canary", "recommender-shadow"], ["get"]),
        (["httproutes", "grpcroutes"], ["recommender"], ["get"]),
        (["deployments"], ["recommender-predictor", "recommender-transformer"], ["get"]),
        (["pods"], None, ["list"]),
        (["leases"], None, ["create"]),
        (["leases"], ["recommender-rollout"], ["get", "update"]),
        (["events"], None, ["create"]),
    ]
    canary = find(overlays["gpu"], "Role/recommender-canary-deployer")["rules"]
    assert all(rule["resourceNames"] for rule in canary)
    kinds = {document["kind"] for rendered in overlays.values() for document in rendered}
    assert not kinds & {"ClusterRole", "ClusterRoleBinding", "Secret"}
