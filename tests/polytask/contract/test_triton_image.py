"""The pair of Triton image and ONNX Runtime is stated once; every place that repeats it agrees."""

import re
import tomllib
from pathlib import Path

import onnxruntime
import pytest
import yaml

from polytask.contract.triton_image import ONNX_RUNTIME, TRITON_IMAGE
from polytask.errors import ExportError
from polytask.export import bundle as export

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("file", ["locks/all.txt", "locks/triton-stub.in", "locks/triton-stub.txt"])
def test_the_locks_have_the_supported_onnx_runtime(file):
    pins = re.findall(r"^onnxruntime==(\S+)", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert pins == [ONNX_RUNTIME]


def test_both_extras_have_the_supported_onnx_runtime():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert extras["cpu"] == [f"onnxruntime=={ONNX_RUNTIME}"]
    assert extras["gpu"] == [f"onnxruntime-gpu=={ONNX_RUNTIME}"]
    assert onnxruntime.__version__ == ONNX_RUNTIME


def test_the_manifest_has_the_supported_image():
    service = yaml.safe_load((ROOT / "manifests/base/inference-service.yaml").read_text(encoding="utf-8"))
    assert service["spec"]["predictor"]["model"]["runtimeVersion"] == TRITON_IMAGE


def test_no_bundle_is_exported_with_another_onnx_runtime(monkeypatch, tmp_path):
    monkeypatch.setattr(onnxruntime, "__version__", "1.19.2")
    message = rf"onnxruntime 1\.19\.2 is installed; .* {re.escape(ONNX_RUNTIME)}, the version in Triton {TRITON_IMAGE}"
    with pytest.raises(ExportError, match=message):
        export.export_bundle(tmp_path, None, {}, [], {}, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())
