"""A bundle in object storage: whole, verified, written once, and never over another model's."""

import json
import shutil
from pathlib import Path

import pytest

from polytask.data.tables import Tables
from polytask.scenario import Scenario
from serving.rollout.errors import RolloutError
from serving.rollout.upload import upload, uploads
from tests.serving.bundle import VERSION, write_bundle
from tests.serving.rollout.object_store import ObjectStore

STORAGE = "s3://models/small"


@pytest.fixture(scope="module")
def made(small_scenario: Scenario, tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published") / str(VERSION)
    write_bundle(folder, small_scenario, tables)
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / made.name))


def contents(bundle: Path) -> dict[str, bytes]:
    files = (path for path in bundle.rglob("*") if path.is_file())
    return {f"models/small/{VERSION}/{path.relative_to(bundle)}": path.read_bytes() for path in files}


def test_every_file_is_there_the_contract_last_and_the_second_time_nothing_is_written(
    bundle: Path, object_store: ObjectStore
):
    (bundle / "repository" / "large.bin").write_bytes(bytes(range(256)) * 50_000)  # more than one part
    assert upload(bundle, STORAGE, str(VERSION)) == len(contents(bundle)) > 5
    assert object_store.objects == contents(bundle)
    assert object_store.written[-1] == f"models/small/{VERSION}/contract.json"
    object_store.written.clear()
    assert upload(bundle, STORAGE + "/", str(VERSION)) == 0
    assert object_store.written == []


def test_what_is_damaged_there_is_written_again(bundle: Path, object_store: ObjectStore):
    upload(bundle, STORAGE, str(VERSION))
    key = f"models/small/{VERSION}/repository/SHA256SUMS"
    content = object_store.objects[key]
    object_store.objects[key] = bytes([content[0] ^ 1]) + content[1:]  # the same size
    assert upload(bundle, STORAGE, str(VERSION)) == 1
    assert object_store.objects[key] == content


def test_what_reads_back_otherwise_is_told_and_leaves_no_contract(bundle: Path, object_store: ObjectStore):
    object_store.damaged = "SHA256SUMS"
    with pytest.raises(RolloutError, match=r"SHA256SUMS: reads back with SHA-256 [0-9a-f]{64}, written was"):
        upload(bundle, STORAGE, str(VERSION))
    assert not any(key.endswith("contract.json") for key in object_store.objects)


def test_a_version_is_not_reused_for_other_models(bundle: Path, object_store: ObjectStore):
    upload(bundle, STORAGE, str(VERSION))
    key = f"models/small/{VERSION}/contract.json"
    contract = json.loads(object_store.objects[key])
    contract["metrics"] = {"item": {"ndcg@10": 0.5}}
    object_store.objects[key] = json.dumps(contract).encode()
    assert upload(bundle, STORAGE, str(VERSION)) == 1  # the same models with new metrics
    contract["models"]["multitask"]["sha256"] = "0" * 64
    object_store.objects[key] = json.dumps(contract).encode()
    object_store.written.clear()
    with pytest.raises(RolloutError, match="holds other models under this version"):
        upload(bundle, STORAGE, str(VERSION))
    assert object_store.written == []


def test_a_storage_that_refuses_is_told_with_what_to_do(bundle: Path, object_store: ObjectStore):
    object_store.refuses = True
    with pytest.raises(RolloutError, match=r"s3://models/small/\d+: .*give credentials") as caught:
        upload(bundle, STORAGE, str(VERSION))
    assert "\n" not in str(caught.value)


def test_volumes_and_servers_of_files_are_not_written_to():
    assert [uploads(f"{scheme}://models") for scheme in ("s3", "gs", "pvc", "https", "oci")] == [
        True,
        True,
        *[False] * 3,
    ]
