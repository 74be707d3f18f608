"""Triton's command in the manifest starts the server only over a repository that is as it was exported."""

import shutil
import subprocess
from pathlib import Path

import pytest

from polytask.contract.contract import REPOSITORY_FOLDER
from polytask.data.tables import Tables
from polytask.scenario import Scenario
from serving.triton.checksums import check_sums
from tests.serving.bundle import write_bundle
from tests.serving.manifests.conftest import Overlays, find

MOUNT = "/mnt/models"


@pytest.fixture(scope="module")
def repository(small_scenario: Scenario, tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder, small_scenario, tables)
    return folder / REPOSITORY_FOLDER


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(repository, tmp_path / "models"))


def start(overlays: Overlays, folder: Path, checksum: str | None) -> subprocess.CompletedProcess[str]:
    """Run the command with `echo` for Triton. The runtime's own arguments come first, as KServe puts them."""
    model = find(overlays["gpu"], "InferenceService/recommender")["spec"]["predictor"]["model"]
    shell, option, script = model["command"]
    assert (shell, option, script.count(MOUNT)) == ("sh", "-c", 1)
    script = script.replace(MOUNT, str(folder))
    environment = {"PATH": "/usr/bin:/bin"} | ({} if checksum is None else {"REPOSITORY_SHA256": checksum})
    command = [shell, option, script, "echo", "--model-store=/mnt/models", *model["args"]]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20)


def test_a_whole_repository_is_served(overlays: Overlays, copy: Path):
    done = start(overlays, copy, check_sums(copy))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "--model-store=/mnt/models"
    assert {"--load-model=text_encoder", "--load-model=multitask", "--load-model=recommender"} <= set(
        done.stdout.split()
    )


@pytest.mark.parametrize("checksum", [None, ""])
def test_without_a_deployed_model_it_says_so(checksum: str | None, overlays: Overlays, copy: Path):
    done = start(overlays, copy, checksum)
    assert (done.returncode, done.stdout) != (0, "")
    assert "no model is deployed yet" in done.stderr


def test_a_changed_file_is_refused(overlays: Overlays, copy: Path):
    checksum = check_sums(copy)
    (model,) = copy.glob("multitask/*/model.onnx")
    model.write_bytes(model.read_bytes() + b"x")
    done = start(overlays, copy, checksum)
    assert done.returncode != 0
    assert "multitask" in done.stdout and "--load-model" not in done.stdout


def test_another_list_of_checksums_is_refused(overlays: Overlays, copy: Path):
    checksum = check_sums(copy)
    sums = copy / "SHA256SUMS"
    sums.write_text("\n".join(sums.read_text(encoding="utf-8").splitlines()[1:]) + "\n", encoding="utf-8")
    done = start(overlays, copy, checksum)
    assert done.returncode != 0
    assert "--load-model" not in done.stdout
