"""The smoke test passes for a good bundle and fails for every kind of wrong prediction."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.smoke import smoke
from polytask.contract.contract import load_contract
from polytask.contract.tensors import MASKED_SCORE
from polytask.data.catalogue import Catalogue, catalogues_of
from polytask.data.tables import Tables
from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.rollout.errors import NotServing
from serving.rollout.smoke_bundle import ASKED, check_task, smoke_in_process, smoke_through_service

COUNT = 2


def test_a_good_bundle_answers_every_task(small_bundle: Path) -> None:
    lines = smoke_in_process(small_bundle)
    assert [line.split(":")[0] for line in lines] == ["item", "user", "scene"]
    assert f"{ASKED} requests, 10 rows or more of 60 each" in lines[0]


def test_a_file_that_has_changed_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(small_bundle, tmp_path / "bundle")
    file = tmp_path / "bundle" / load_contract(small_bundle).models["multitask"].path
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ContractError, match="checksum"):
        smoke_in_process(tmp_path / "bundle")


@pytest.fixture
def catalogues(small_scenario: Scenario, tables: Tables) -> dict[str, Catalogue]:
    return catalogues_of(small_scenario, tables)


def answers() -> dict[str, Any]:
    """A correct response: two lists of ten, the second of them with three rows, and scores of four classes."""
    ids = np.tile(np.arange(1, 11, dtype=np.int64), (COUNT, 1))
    scores = np.tile(np.linspace(3, 1, 10, dtype=np.float32), (COUNT, 1))
    ids[1, 3:], scores[1, 3:] = 0, MASKED_SCORE
    return {"item_ids": ids, "item_scores": scores, "scene_scores": np.zeros((COUNT, 4), np.float32)}


def put(name: str, at: tuple[int, int], value: float) -> Any:
    def change(found: dict[str, Any]) -> None:
        found[name][at] = value

    return change


WRONG = {
    "not finite": ("scene", put("scene_scores", (0, 1), np.nan), "scene_scores: has values that are not finite"),
    "too wide": ("scene", lambda a: a.update(scene_scores=np.zeros((COUNT, 5), np.float32)), r"float32 \(2, 5\); the"),
    "another type": ("scene", lambda a: a.update(scene_scores=np.zeros((COUNT, 4))), "float64"),
    "a row of no catalogue": ("item", put("item_ids", (0, 9), 61), "rows 0 to 61; items has rows 1 to 60"),
    "a row twice": ("item", put("item_ids", (0, 9), 1), "request 0 has a row twice"),
    "out of order": ("item", put("item_scores", (0, 9), 2.0), "those of request 0 do not fall"),
    "an empty list": ("item", lambda a: a["item_ids"][1].fill(0), "request 1 has an empty list"),
}


def test_right_answers_are_taken(small_scenario: Scenario, catalogues: dict[str, Catalogue]) -> None:
    assert check_task(small_scenario.task("item"), answers(), catalogues, COUNT).endswith("3 rows or more of 60 each")
    assert check_task(small_scenario.task("scene"), answers(), catalogues, COUNT).endswith("values from 0 to 0")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_refused(small_scenario: Scenario, catalogues: dict[str, Catalogue], name: str) -> None:
    task, change, words = WRONG[name]
    found = answers()
    change(found)
    with pytest.raises(ContractError, match=words):
        check_task(small_scenario.task(task), found, catalogues, COUNT)


def test_the_step_asks_whoever_serves(small_bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    requested: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        "serving.rollout.smoke_bundle.smoke_through_service", lambda *where: requested.append(where) or "passed"
    )
    monkeypatch.setattr("serving.rollout.smoke_bundle.smoke_in_process", lambda folder: [f"in process: {folder}"])
    smoke.python_func(published="/p/7", storage_uri="s3://models", namespace="shop")
    assert requested == [(Path("/p/7"), "recommender", "shop")]
    smoke.python_func(published="/p/7", storage_uri="s3://models", namespace="shop", strategy="shadow")
    smoke.python_func(published="/p/7")
    assert len(requested) == 1
    assert capsys.readouterr().out == "passed\nin process: /p/7\nin process: /p/7\n"


def test_a_service_that_is_not_there_fails_with_its_address(
    small_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.rollout.settings.Settings.url", "http://127.0.0.1:1/{name}.{namespace}")
    with pytest.raises(NotServing, match=r"127.0.0.1:1/recommender.shop"):
        smoke_through_service(small_bundle, "recommender", "shop", seconds=0)
