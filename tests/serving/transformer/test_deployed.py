"""The contract that was deployed: a bundle that was changed since, or that was not deployed, is refused at start."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from polytask.contract.contract import load_contract
from polytask.errors import ContractError
from polytask.storage.atomic import sha256_file
from serving.local.server_process import server_environment
from serving.transformer.bundle import load_bundle
from serving.transformer.deployed import Deployed, deployed_bundles

ONE, TWO = "1" * 64, "2" * 64


@pytest.mark.parametrize(
    ("bundle", "checksum", "expected"),
    [
        ("/mnt/models", None, [Deployed(Path("/mnt/models"))]),
        ("a,folder", None, [Deployed(Path("a,folder"))]),
        ("/mnt/models", ONE, [Deployed(Path("/mnt/models"), ONE)]),
        ("/mnt/7,/mnt/6", f"{TWO},{ONE}", [Deployed(Path("/mnt/7"), TWO), Deployed(Path("/mnt/6"), ONE)]),
    ],
)
def test_one_checksum_belongs_to_each_bundle(bundle: str, checksum: str | None, expected: list[Deployed]):
    assert deployed_bundles(bundle, checksum) == expected


@pytest.mark.parametrize(
    ("bundle", "checksum", "says"),
    [
        ("", "", "no model is deployed yet: run the deploy step"),
        ("/mnt/models", "", "no model is deployed yet: run the deploy step"),
        ("", ONE, "no model is deployed yet: run the deploy step"),
        ("/mnt/7,/mnt/6", ONE, "2 bundles, 1 checksums; expected one checksum per bundle"),
        ("/mnt/7", f"{TWO},{ONE}", "1 bundles, 2 checksums; expected one checksum per bundle"),
        ("/mnt/7,", f"{TWO},{ONE}", "2 bundles, 2 checksums; expected one checksum per bundle"),
        ("7,6,5", f"{TWO},{ONE},{ONE}", "for at most 2 bundles"),
    ],
)
def test_what_was_not_deployed_is_refused(bundle: str, checksum: str, says: str):
    with pytest.raises(ContractError, match=says):
        deployed_bundles(bundle, checksum)


def changed(bundle: Path, folder: Path, what: str) -> tuple[Path, str, str]:
    """A copy whose title, id or tokenizer was changed with its contract: folder, checksums before and now."""
    shutil.copytree(bundle, folder)
    contract = load_contract(folder)
    if what == "tokenizer":
        path = folder / contract.tokenizer.path
        path.write_bytes(path.read_bytes() + b"\n")
        tokenizer = contract.tokenizer.model_copy(update={"sha256": sha256_file(path)})
        now = contract.model_copy(update={"tokenizer": tokenizer})
    else:
        spec = contract.catalogues["items"]
        table = pd.read_parquet(folder / spec.path)
        table.loc[3, what] = type(table.loc[3, what].item() if what == "item_id" else "")(9999)
        table.to_parquet(folder / spec.path)
        items = spec.model_copy(update={"sha256": sha256_file(folder / spec.path)})
        now = contract.model_copy(update={"catalogues": {**contract.catalogues, "items": items}})
    now.save(folder)
    return folder, contract.checksum, now.checksum


@pytest.mark.parametrize("what", ["title", "item_id", "tokenizer"])
def test_a_bundle_that_was_changed_with_its_contract_is_another_one(ruled_bundle: Path, tmp_path: Path, what: str):
    folder, before, now = changed(ruled_bundle, tmp_path / "bundle", what)
    assert load_bundle(folder, now).checksum == load_bundle(folder).checksum == now
    with pytest.raises(
        ContractError, match=f"contract.json: checksum {now}, deployed was {before}; restore the bundle"
    ):
        load_bundle(folder, before)


def test_both_servers_end_with_one_line(ruled_bundle: Path, small_store: Path, tmp_path: Path):
    folder, before, now = changed(ruled_bundle, tmp_path / "bundle", "title")
    cases = [
        ("serving.transformer", before, f"checksum {now}, deployed was {before}"),
        ("serving.explainer", before, f"checksum {now}, deployed was {before}"),
        ("serving.explainer", "", "no model is deployed yet"),
    ]
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", module, f"--bundle={folder}", f"--contract_sha256={checksum}"),
                *(f"--feature_store={small_store}", "--predictor_host=127.0.0.1:9", "--predictor_protocol=grpc-v2"),
            ],
            env=server_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for module, checksum, _ in cases
    ]
    for process, (_, _, says) in zip(started, cases, strict=True):
        try:
            _, written = process.communicate(timeout=90)
        finally:
            process.kill()
        errors = [line for line in written.splitlines() if line.startswith("error: ")]
        assert (process.returncode, len(errors)) == (1, 1), written
        assert says in errors[0]
        assert "Traceback" not in written
