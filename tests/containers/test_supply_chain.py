"""From locked packages to signed images: each step of the chain, without an image."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml

from polytask.contract.triton_image import TRITON_IMAGE
from serving.manifests.pod_rules import check_digests
from serving.manifests.render import documents, render

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "containers"
DIGEST = "sha256:" + "0123456789abcdef" * 4
# Those of the overlay `local`, with Triton's.
IMAGES = {"nvcr.io/nvidia/tritonserver": TRITON_IMAGE, "ghcr.io/polytask/polytask-transformer": "0.2.0"}


def pins(lock: str) -> dict[str, str]:
    text = (ROOT / "locks" / lock).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;]+)", text, re.MULTILINE))


@pytest.mark.parametrize("lock", ["serve.txt", "pipeline-cpu.txt", "pipeline-gpu.txt", "triton-stub.txt"])
def test_every_package_of_an_image_has_hashes(lock: str):
    text = (ROOT / "locks" / lock).read_text(encoding="utf-8")
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 2
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_the_pipeline_installs_the_versions_that_are_tested(kind: str):
    tested, installed = pins("all.txt"), pins(f"pipeline-{kind}.txt")
    assert {"torch", "feast", "kfp", "kserve"} <= installed.keys()
    differing = {name for name, version in installed.items() if tested.get(name, version) != version}
    assert differing == set()
    assert set(installed) - set(tested) <= {"onnxruntime-gpu"}


def test_hashes_are_required_unless_there_are_local_builds():
    script = (CONTAINERS / "install.sh").read_text(encoding="utf-8")
    pipeline = script.partition("pipeline)")[2]
    local, _, index = pipeline.partition("else")
    assert '-n "$links"' in local and "--require-hashes" not in local
    assert "--require-hashes -r" in index and "--no-deps --editable ." in index


def sbom() -> Any:
    spec = importlib.util.spec_from_file_location("sbom", CONTAINERS / "sbom.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_list_of_parts_is_read_from_the_file_system(tmp_path: Path):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    packages = tmp_path / "opt" / "venv" / "lib" / "python3.11" / "site-packages"
    for name in ("httpx", "numpy"):
        (folder := packages / f"{name}-{metadata.version(name)}.dist-info").mkdir(parents=True)
        (folder / "METADATA").write_text(metadata.distribution(name).read_text("METADATA") or "", encoding="utf-8")
    (status := tmp_path / "var" / "lib" / "dpkg" / "status").parent.mkdir(parents=True)
    status.write_text(
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u13\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n",
        encoding="utf-8",
    )
    program = [
        sys.executable,
        str(CONTAINERS / "sbom.py"),
        str(tmp_path),
        "image:1",
        str(tmp_path / "out" / "image.json"),
    ]
    assert subprocess.run(program, capture_output=True, text=True, timeout=60).returncode == 0
    text = (tmp_path / "out" / "image.json").read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = {entry["purl"] for entry in json.loads(text)["components"]}
    assert found == {
        f"pkg:pypi/httpx@{metadata.version('httpx')}",
        f"pkg:pypi/numpy@{metadata.version('numpy')}",
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u13?arch=amd64",
    }


def test_an_empty_file_system_is_no_image(tmp_path: Path):
    with pytest.raises(ValueError, match="no Python and no Debian package"):
        sbom().document(tmp_path, "image")


def run(script: str, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": f"{path}:/usr/bin:/bin" if path else "/usr/bin:/bin"}
    program = ["sh", str(CONTAINERS / script), *arguments]
    return subprocess.run(program, env=environment, capture_output=True, text=True, timeout=30)


def test_an_overlay_references_its_images_by_digest(tmp_path: Path):
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    overlay = tmp_path / "manifests" / "overlays" / "staging"
    names = [f"ghcr.io/polytask/polytask-{name}" for name in ("transformer", "explainer", "python")]
    assert len(check_digests(documents(render(overlay)))) == 5
    for _ in range(2):  # a second time, for the next release
        done = run("pin.sh", str(overlay), *(f"{name}@{DIGEST}" for name in names))
        assert done.returncode == 0, done.stderr
    rendered = render(overlay)
    assert all(f"image: {name}@{DIGEST}" in rendered for name in names)
    triton, redis = sorted(check_digests(documents(rendered)), key=lambda problem: problem.path)
    assert (triton.path, "component triton-image" in triton.message) == ("spec.predictor.model.image", True)
    assert "redis" in redis.message
    assert "expected NAME@sha256:" in run("pin.sh", str(overlay), f"{names[0]}@latest").stderr
    assert "images has no entry" in run("pin.sh", str(overlay), f"ghcr.io/other@{DIGEST}").stderr


RENDER = """
import sys
from pathlib import Path
from polytask.errors import ServingError
from serving.manifests import cli
try:
    cli.render(Path(sys.argv[1]), Path(sys.argv[2]), digests=True)
except ServingError as error:
    sys.exit(str(error))
"""


def test_triton_is_referenced_by_digest_too(tmp_path: Path):
    shutil.copytree(ROOT / "manifests", tmp_path / "manifests")
    overlay = tmp_path / "manifests" / "overlays" / "local"
    file = overlay / "kustomization.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content["components"].append("../../components/triton-image")
    entries = "".join(f"  - {{name: {name}, newTag: {tag}}}\n" for name, tag in IMAGES.items())
    del content["images"]
    file.write_text(f"{yaml.safe_dump(content)}images:\n{entries}", encoding="utf-8")
    by_tag = check_digests(documents(render(overlay)))
    assert [problem.message.split()[1] for problem in by_tag] == [f"{name}:{tag}" for name, tag in IMAGES.items()]
    for name in IMAGES:
        done = run("pin.sh", str(overlay), f"{name}@{DIGEST}")
        assert done.returncode == 0, done.stderr
    pinned = documents(render(overlay))
    (service,) = (one for one in pinned if one["kind"] == "InferenceService")
    model = service["spec"]["predictor"]["model"]
    assert model["image"] == f"nvcr.io/nvidia/tritonserver@{DIGEST}"
    assert model["runtimeVersion"] == TRITON_IMAGE  # compared by `make render`; KServe leaves a digest as it is
    assert check_digests(pinned) == []
    # In its own process: KServe's SDK, which validates the documents, cannot be imported with tritonclient.grpc.
    words = ["-c", RENDER, str(overlay.parent), str(tmp_path / "out")]
    refused = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert refused.returncode == 1, refused.stderr
    lines = refused.stderr.splitlines()
    assert not any(line.startswith("local: ") for line in lines)
    assert any(line.startswith("gpu: ") and "spec.predictor.model.image: is missing" in line for line in lines)


def test_signatures_are_for_digests_and_carry_the_list_of_parts(tmp_path: Path):
    programs, calls = tmp_path / "bin", tmp_path / "calls"
    programs.mkdir()
    (programs / "cosign").write_text(f'#!/bin/sh\necho "$@" >>{calls}\n', encoding="utf-8")
    (programs / "cosign").chmod(0o755)
    image = f"ghcr.io/polytask/polytask-python@{DIGEST}"
    (tmp_path / "digests").write_text(image + "\n", encoding="utf-8")
    parts = tmp_path / "sbom" / "polytask-python.json"
    arguments = ("sign.sh", str(tmp_path / "digests"), str(parts.parent))
    assert "run make sbom first" in run(*arguments, path=programs).stderr
    parts.parent.mkdir()
    parts.write_text("{}", encoding="utf-8")
    assert run(*arguments, path=programs).returncode == 0
    assert calls.read_text(encoding="utf-8").splitlines() == [
        f"sign --yes {image}",
        f"attest --yes --type cyclonedx --predicate {parts} {image}",
    ]
    assert "cosign is not installed" in run(*arguments).stderr
    (tmp_path / "digests").write_text("ghcr.io/polytask/polytask-python:0.2.0\n", encoding="utf-8")
    assert "a tag can be moved" in run(*arguments, path=programs).stderr
