"""Versions as `serving.rollout.publish` leaves them, without their weights."""

from pathlib import Path

from polytask.contract.contract import Contract
from polytask.scenario import Scenario
from tests.serving.triton.tiny import tiny_contract


def published(scenario: Scenario, folder: Path, number: int) -> Path:
    contract: Contract = tiny_contract(scenario).model_copy(
        update={"model_version": number, "metrics": {"item": {"ndcg@10": number / 10}}}
    )
    (folder / str(number)).mkdir(parents=True)
    contract.save(folder / str(number))
    return folder / str(number)


def checkpoint(folder: Path, weights: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_text(weights, encoding="utf-8")
    return folder
