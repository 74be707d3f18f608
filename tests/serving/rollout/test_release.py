"""A release is a verified bundle at an address, and where KServe puts it into the pods."""

from pathlib import Path

import pytest

from polytask.contract.contract import REPOSITORY_FOLDER
from polytask.data.tables import Tables
from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.rollout.deploy import deploy
from serving.rollout.errors import RolloutError
from serving.rollout.release import load_release
from serving.triton.checksums import check_sums
from tests.serving.bundle import VERSION, write_bundle


@pytest.fixture
def bundle(small_scenario: Scenario, tables: Tables, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "bundle", small_scenario, tables)
    return tmp_path / "bundle"


def test_a_bucket_is_mounted_as_the_bundle(bundle: Path):
    release = load_release(bundle, "s3://models/small/")
    assert release.uri == release.storage_uri == f"s3://models/small/{VERSION}"
    assert release.repository_uri == f"s3://models/small/{VERSION}/repository"
    assert release.mounted == release.mount_path == f"/mnt/models/{VERSION}-{release.contract.checksum[:8]}"
    assert release.repository_sha256 == check_sums(bundle / REPOSITORY_FOLDER)


def test_a_claim_is_mounted_whole_by_the_transformer(bundle: Path):
    release = load_release(bundle, "pvc://models/movielens")
    assert release.repository_uri == f"pvc://models/movielens/{VERSION}/repository"
    assert release.storage_uri == "pvc://models"
    assert release.mount_path == "/mnt/claims/models"
    assert release.mounted == f"/mnt/claims/models/movielens/{VERSION}"


@pytest.mark.parametrize("storage", ["", "/mnt/models", "file:///mnt/models", "s3://"])
def test_an_address_that_kserve_does_not_know_is_refused(storage: str, bundle: Path):
    with pytest.raises(RolloutError, match="allowed: an address that starts with s3://"):
        load_release(bundle, storage)


def test_a_damaged_bundle_is_refused(bundle: Path):
    config = bundle / REPOSITORY_FOLDER / "multitask" / "config.pbtxt"
    config.write_text(config.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(ContractError, match=r"config.pbtxt: [0-9a-f]{64}, SHA256SUMS lists"):
        load_release(bundle, "s3://models")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"strategy": "bluegreen"}, "strategy 'bluegreen'; allowed: recreate, rolling, canary, shadow"),
        ({"namespace": ""}, "namespace: is empty"),
        ({"prometheus": "http://prometheus:9090"}, "one of the two is missing"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_done(change: dict[str, str], message: str, tmp_path: Path):
    settings = {"storage_uri": "s3://models", "namespace": "test", **change}
    with pytest.raises(RolloutError, match=message):
        deploy(tmp_path / "no-such-bundle", **settings)
