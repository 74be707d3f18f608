"""Publishing: idempotent, verified, and a version number is never reused for other weights."""

import json
from pathlib import Path

import pytest

from polytask.contract.contract import (
    MULTITASK,
    REPOSITORY_FOLDER,
    TEXT_ENCODER,
    CatalogueSpec,
    Contract,
    FileSum,
    load_contract,
)
from polytask.errors import ContractError
from polytask.scenario import Scenario
from polytask.storage.atomic import sha256_file
from serving.rollout.publish import publish
from serving.triton.checksums import write_sums
from tests.serving.triton.tiny import tiny_contract


def write_bundle(scenario: Scenario, folder: Path, weights: str, metric: float = 0.5) -> Contract:
    text, multitask = f"{REPOSITORY_FOLDER}/text.onnx", f"{REPOSITORY_FOLDER}/multitask.onnx"
    files = {"tokenizer.json": "{}", "items.parquet": "items", text: "text", multitask: weights}
    (folder / REPOSITORY_FOLDER).mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    sums = {name: FileSum(path=name, sha256=sha256_file(folder / name)) for name in files}
    contract = tiny_contract(scenario).model_copy(
        update={
            "tokenizer": sums["tokenizer.json"],
            "catalogues": {"items": CatalogueSpec(**sums["items.parquet"].model_dump(), rows=60)},
            "models": {TEXT_ENCODER: sums[text], MULTITASK: sums[multitask]},
            "metrics": {"item": {"ndcg@10": metric}},
        }
    )
    contract.save(folder)
    configure(folder, "count: 1")
    return contract


def configure(bundle: Path, config: str) -> None:
    (bundle / REPOSITORY_FOLDER / "config.pbtxt").write_text(config, encoding="utf-8")
    write_sums(bundle / REPOSITORY_FOLDER)


def test_publish_points_current_at_the_version_and_changes_nothing_the_second_time(
    small_scenario: Scenario, tmp_path: Path
) -> None:
    contract = write_bundle(small_scenario, tmp_path / "bundle", "weights")
    published = publish(tmp_path / "bundle", tmp_path / "published")
    assert published.name == str(contract.model_version)
    assert (tmp_path / "published" / "current").resolve() == published
    before = published.stat().st_ino
    assert publish(tmp_path / "bundle", tmp_path / "published") == published
    assert published.stat().st_ino == before
    assert sorted(path.name for path in (tmp_path / "published").iterdir()) == [
        published.name,
        "current",
        "records",
    ]


def test_new_metrics_for_the_same_weights_replace_the_contract(small_scenario: Scenario, tmp_path: Path) -> None:
    write_bundle(small_scenario, tmp_path / "one", "weights", metric=0.1)
    write_bundle(small_scenario, tmp_path / "two", "weights", metric=0.2)
    publish(tmp_path / "one", tmp_path / "published")
    published = publish(tmp_path / "two", tmp_path / "published")
    assert load_contract(published).metrics["item"]["ndcg@10"] == 0.2


def test_a_version_is_not_reused_for_other_weights(small_scenario: Scenario, tmp_path: Path) -> None:
    write_bundle(small_scenario, tmp_path / "one", "weights")
    write_bundle(small_scenario, tmp_path / "two", "other weights")
    first = publish(tmp_path / "one", tmp_path / "published")
    with pytest.raises(ContractError, match="exists with models"):
        publish(tmp_path / "two", tmp_path / "published")
    assert (first / REPOSITORY_FOLDER / "multitask.onnx").read_text(encoding="utf-8") == "weights"


def test_a_damaged_bundle_is_refused_and_nothing_is_left(small_scenario: Scenario, tmp_path: Path) -> None:
    write_bundle(small_scenario, tmp_path / "bundle", "weights")
    (tmp_path / "bundle" / REPOSITORY_FOLDER / "text.onnx").write_text("damaged", encoding="utf-8")
    with pytest.raises(ContractError, match="the contract has"):
        publish(tmp_path / "bundle", tmp_path / "published")
    assert not (tmp_path / "published").exists()
    assert json.loads((tmp_path / "bundle" / "contract.json").read_text(encoding="utf-8"))["checksum"]


def test_another_configuration_of_the_same_weights_replaces_the_repository(
    small_scenario: Scenario, tmp_path: Path
) -> None:
    write_bundle(small_scenario, tmp_path / "one", "weights")
    publish(tmp_path / "one", tmp_path / "published")
    configure(tmp_path / "one", "count: 2")
    published = publish(tmp_path / "one", tmp_path / "published")
    assert (published / REPOSITORY_FOLDER / "config.pbtxt").read_text(encoding="utf-8") == "count: 2"


def test_a_configuration_that_was_changed_by_hand_is_refused(small_scenario: Scenario, tmp_path: Path) -> None:
    write_bundle(small_scenario, tmp_path / "one", "weights")
    (tmp_path / "one" / REPOSITORY_FOLDER / "config.pbtxt").write_text("count: 2", encoding="utf-8")
    with pytest.raises(ContractError, match=r"config.pbtxt: [0-9a-f]{64}, SHA256SUMS lists [0-9a-f]{64}"):
        publish(tmp_path / "one", tmp_path / "published")
    assert not (tmp_path / "published").exists()
