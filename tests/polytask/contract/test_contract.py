"""The contract: written and read back whole, and no file of a bundle changes without being noticed."""

import json

import pytest

from polytask.contract.contract import CONTRACT_FILE, load_contract
from polytask.errors import ContractError
from polytask.storage.atomic import sha256_file
from tests.serving.bundle import write_bundle


@pytest.fixture
def bundle(small_scenario, tables, tmp_path):
    write_bundle(tmp_path, small_scenario, tables)
    return tmp_path


def test_read_back_equal(bundle):
    contract = load_contract(bundle)
    assert contract.model_version == 77
    assert json.loads((bundle / CONTRACT_FILE).read_text())["checksum"] == contract.checksum
    assert len(contract.checksum) == 64
    contract.save(bundle)
    assert load_contract(bundle) == contract


def test_checksum_knows_the_content_alone(bundle):
    contract = load_contract(bundle)
    file = bundle / CONTRACT_FILE
    file.write_text(json.dumps(json.loads(file.read_text()), sort_keys=True))
    assert load_contract(bundle).checksum == contract.checksum
    assert contract.model_copy(update={"text_dim": 5}).checksum != contract.checksum


def test_a_contract_from_before_a_field_was_added_is_still_read(bundle):
    file = bundle / CONTRACT_FILE
    content = json.loads(file.read_text())
    # As an older release wrote it, which knew nothing of these.
    del content["new_items"], content["scenario"]["export"], content["scenario"]["model"]["experts"]
    file.write_text(json.dumps(content))
    assert load_contract(bundle).checksum == content["checksum"]


@pytest.mark.parametrize(
    ("written", "todo"), [(1, "export it again"), (3, "update this program, or export it again with it")]
)
def test_a_bundle_of_another_format_is_refused_before_its_fields_are_read(bundle, written, todo):
    file = bundle / CONTRACT_FILE
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": written, "a_field_of_that_format": 1}))
    with pytest.raises(ContractError, match=f"contract.json: format {written}; this program reads format 2: {todo}$"):
        load_contract(bundle)


def test_a_bundle_of_an_older_format_can_be_read_to_compare_with_it(bundle):
    file = bundle / CONTRACT_FILE
    written = load_contract(bundle)
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 1}))
    older = load_contract(bundle, older=True)
    assert (older.format, older.checksum, older.scenario) == (1, written.checksum, written.scenario)
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 3}))
    with pytest.raises(ContractError, match="format 3; this program reads format 2"):
        load_contract(bundle, older=True)


def test_edited_contract_names_both_checksums(bundle):
    file = bundle / CONTRACT_FILE
    content = json.loads(file.read_text())
    content["max_tokens"] = 16
    file.write_text(json.dumps(content))
    with pytest.raises(ContractError) as caught:
        load_contract(bundle)
    written = content.pop("checksum")
    assert f"checksum {written}, its content has " in str(caught.value)


@pytest.mark.parametrize("kind", ["tokenizer", "catalogue", "model"])
def test_tampered_file_names_both_checksums(bundle, kind):
    contract = load_contract(bundle)
    named = {"tokenizer": contract.tokenizer, "catalogue": contract.catalogues["items"]}
    spec = named.get(kind, contract.models["multitask"])
    file = bundle / spec.path
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ContractError) as caught:
        load_contract(bundle)
    assert f"{file}: checksum {sha256_file(file)}, the contract has {spec.sha256}" in str(caught.value)
    assert load_contract(bundle, verify_files=False) == contract
    file.unlink()
    with pytest.raises(ContractError, match=f"is missing, the contract names it with checksum {spec.sha256}"):
        load_contract(bundle)


@pytest.mark.parametrize(
    ("content", "words"),
    [("{", "is not JSON"), ("[]", "valid dictionary"), ('{"new_field": 1}', "new_field")],
)
def test_file_that_is_no_contract(tmp_path, content, words):
    (tmp_path / CONTRACT_FILE).write_text(content)
    with pytest.raises(ContractError, match=words):
        load_contract(tmp_path)


def test_folder_without_a_contract(tmp_path):
    with pytest.raises(ContractError, match="cannot be read: No such file"):
        load_contract(tmp_path)
