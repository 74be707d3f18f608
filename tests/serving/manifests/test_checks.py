"""The checks pass what is rendered and refuse one broken document for each rule."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.manifests.check import check_overlay_length
from serving.manifests.crd_schemas import Schemas, check_against_crds
from serving.manifests.inference_service_rules import check_inference_service
from serving.manifests.render import OVERLAYS, documents
from tests.serving.manifests.conftest import ROOT, Overlays, find, patched

BROKEN = yaml.safe_load((Path(__file__).parent / "broken.yaml").read_text(encoding="utf-8"))

# KServe's SDK and tritonclient.grpc, which other tests import, cannot be in one process: the checks run in their own.
CHECK = """
import json, sys
from serving.manifests.check import check_documents
print(json.dumps([[[p.path, p.message] for p in check_documents(d)] for d in json.load(sys.stdin)]))
"""

Found = list[tuple[str, str]]


@pytest.fixture(scope="module")
def checked(overlays: Overlays) -> dict[str, Found]:
    """Name of an overlay, or rule of a broken document -> problems as (path, message)."""
    cases = dict(overlays)
    for case in BROKEN:
        rendered = overlays[case.get("overlay", "gpu")]
        broken = patched(find(rendered, case["document"]), case["patch"])
        # Only what refers to other documents needs them; without them, the others have one problem more.
        others = (
            [d for d in rendered if d["kind"] in ("ServiceAccount", "ConfigMap")] if "missing" in case["rule"] else []
        )
        if case.get("together"):
            others = [d for d in rendered if d != find(rendered, case["document"])]
        cases[case["rule"]] = [broken, *others]
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        input=json.dumps(list(cases.values())),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    return {name: [tuple(entry) for entry in found] for name, found in zip(cases, answers, strict=True)}


@pytest.mark.parametrize("name", ["gpu", "local", "staging"])
def test_every_overlay_passes(name: str, checked: dict[str, Found]):
    assert checked[name] == []


@pytest.mark.parametrize("case", BROKEN, ids=[case["rule"] for case in BROKEN])
def test_every_rule_refuses_its_broken_document(case: dict[str, Any], checked: dict[str, Found]):
    found = checked[case["rule"]]
    assert any(case["path"] in path and case["says"] in message for path, message in found), found


def test_every_overlay_passes_the_schemas_of_kserve(overlays: Overlays, schemas: Schemas):
    for rendered in overlays.values():
        service = find(rendered, "InferenceService/recommender")
        assert ("serving.kserve.io/v1beta1", "InferenceService") in schemas
        assert check_against_crds(service, schemas) == []


@pytest.mark.parametrize(
    "rule", ["unknown field", "unknown field of a container", "wrong type", "mapping in place of a list"]
)
def test_the_schemas_of_kserve_refuse_too(rule: str, overlays: Overlays, schemas: Schemas):
    case = next(case for case in BROKEN if case["rule"] == rule)
    broken = patched(find(overlays["gpu"], case["document"]), case["patch"])
    assert check_against_crds(broken, schemas)


def test_the_deploy_step_may_set_what_a_manifest_may_not(overlays: Overlays):
    service = find(overlays["gpu"], "InferenceService/recommender")
    service["spec"]["predictor"]["model"]["storageUri"] = "s3://models/1/repository"
    assert [problem.path for problem in check_inference_service(service)] == ["spec.predictor.model.storageUri"]
    assert check_inference_service(service, deployed=True) == []


def test_render_writes_what_creates_the_service_before_its_first_model(overlays: Overlays, tmp_path: Path):
    program = [
        sys.executable,
        "-m",
        "polytask",
        "render",
        "--overlays",
        str(ROOT / OVERLAYS),
        "--output",
        str(tmp_path),
    ]
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for name, rendered in overlays.items():
        assert documents((tmp_path / f"{name}.yaml").read_text(encoding="utf-8")) == rendered
        (stopped,) = documents((tmp_path / "stopped" / f"{name}.yaml").read_text(encoding="utf-8"))
        assert stopped["metadata"]["annotations"].pop("serving.kserve.io/stop") == "true"
        assert stopped == find(rendered, "InferenceService/recommender")


def test_a_long_overlay_is_refused(tmp_path: Path):
    (tmp_path / "README.md").write_text("line\n" * 30)
    (tmp_path / "kustomization.yaml").write_text("line\n" * 40)
    assert check_overlay_length(tmp_path) == []
    (tmp_path / "feature_store.yaml").write_text("line\n")
    assert "41 lines, at most 40" in str(check_overlay_length(tmp_path)[0])
