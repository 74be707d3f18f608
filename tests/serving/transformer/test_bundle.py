"""A bundle is read only when its files and its predictor are those of the contract."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from polytask.contract.contract import MULTITASK, RECOMMENDER, Contract, load_contract
from polytask.contract.tensors import TensorSpec
from polytask.data.tables import Tables
from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.transformer.bundle import load_bundle
from serving.transformer.predictor.agreement import PredictorModel, check_agreement
from tests.serving.bundle import VERSION, write_bundle


@pytest.fixture
def folder(small_scenario: Scenario, tables: Tables, tmp_path: Path) -> Path:
    write_bundle(tmp_path, small_scenario, tables)
    return tmp_path


def test_a_whole_bundle_is_read_also_without_its_models(folder: Path):
    for model in (folder / "repository").rglob("model.onnx"):
        model.unlink()
    bundle = load_bundle(folder)
    assert (len(bundle.catalogues["items"]), bundle.checksum) == (60, load_contract(folder, False).checksum)


def test_a_bundle_without_priorities_weighs_all_tasks_alike(folder: Path):
    assert load_bundle(folder).priorities.of([10], ["item", "scene"])[0, 0] != 0.5
    load_contract(folder).model_copy(update={"priorities": None}).save(folder)
    assert load_bundle(folder).priorities.of([10], ["item", "scene"])[0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("file", ["tokenizer.json", "catalogues/items.parquet", "priorities.parquet"])
def test_a_changed_or_missing_file_is_refused(folder: Path, file: str):
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content + b" ")
    with pytest.raises(ContractError, match=f"{file}: checksum .*, the contract requires"):
        load_bundle(folder)
    (folder / file).unlink()
    with pytest.raises(ContractError, match=f"{file}: is missing"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature_service": "other_v1"}, "feature service: other_v1; its scenario makes small_v1"),
        ({"max_tokens": 64}, "token length: 64; its scenario makes 32"),
    ],
)
def test_a_contract_that_contradicts_its_scenario_is_refused(folder: Path, change: dict[str, Any], message: str):
    load_contract(folder).model_copy(update=change).save(folder)
    with pytest.raises(ContractError, match=message):
        load_bundle(folder)


def served(contract: Contract, version: int = VERSION, **changed: tuple[str, list[int]]) -> PredictorModel:
    def described(specs: tuple[TensorSpec, ...]) -> Mapping[str, tuple[str, list[int]]]:
        return {spec.name: changed.get(spec.name, (spec.dtype, [-1, *spec.shape])) for spec in specs}

    return PredictorModel(MULTITASK, [str(version)], described(contract.multitask_inputs), described(contract.outputs))


def test_the_predictor_of_the_contract_is_accepted(folder: Path):
    contract = load_contract(folder)
    assert check_agreement(contract, served(contract)) is None


@pytest.mark.parametrize(
    ("version", "changed", "message"),
    [
        (VERSION + 1, {}, f"serves version {VERSION + 1}, the contract requires {VERSION}"),
        (VERSION, {"seen": ("INT64", [-1, 49])}, r"seen is INT64 \[-1, 49\], the contract requires INT64 \[-1, 48\]"),
        (VERSION, {"item_ids": ("INT32", [-1, 10])}, "item_ids is INT32 .*, the contract requires INT64"),
    ],
)
def test_another_predictor_is_refused_with_both_values(
    folder: Path, version: int, changed: dict[str, tuple[str, list[int]]], message: str
):
    contract = load_contract(folder)
    with pytest.raises(ContractError, match=message):
        check_agreement(contract, served(contract, version, **changed))


def test_the_ensemble_returns_the_text_vectors_and_has_to_agree_too(folder: Path):
    contract = load_contract(folder)
    inputs = {spec.name: (spec.dtype, [-1, *spec.shape]) for spec in contract.ensemble_inputs}
    outputs = {spec.name: (spec.dtype, [-1, *spec.shape]) for spec in contract.ensemble_outputs}
    assert "text_vector" not in {**inputs, **outputs}
    check_agreement(contract, PredictorModel(RECOMMENDER, [str(VERSION)], inputs, outputs))
    del outputs["encoded_text"]
    with pytest.raises(
        ContractError, match=r"predictor model recommender: outputs .* the contract requires encoded_text"
    ):
        check_agreement(contract, PredictorModel(RECOMMENDER, [str(VERSION)], inputs, outputs))


def test_a_missing_output_is_refused(folder: Path):
    contract = load_contract(folder)
    face = served(contract)
    fewer = PredictorModel(face.name, face.versions, face.inputs, dict(list(face.outputs.items())[1:]))
    with pytest.raises(ContractError, match="the contract requires encoded_text, item_ids"):
        check_agreement(contract, fewer)
