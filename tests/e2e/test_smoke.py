"""The smoke step through a running service: every task returns a result; another model or a missing task is refused."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from components.smoke import smoke
from polytask.contract.contract import load_contract
from serving.local.stack import LocalStack
from serving.rollout.errors import NotServing
from serving.rollout.smoke_bundle import smoke_through_service


@pytest.fixture(autouse=True)
def service(small_stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> str:
    """The stack as the InferenceService `recommender` in the namespace `shop`."""
    host = small_stack.rest_url.removeprefix("http://")
    monkeypatch.setattr("serving.rollout.smoke_bundle.Settings.url", "http://{name}:{namespace}@" + host)
    monkeypatch.setattr("serving.rollout.smoke_bundle.Settings.poll_seconds", 0.01)
    return f"http://recommender:shop@{host}"


def test_each_task_is_asked_and_answers(small_bundle: Path, service: str, capsys: pytest.CaptureFixture[str]) -> None:
    version = load_contract(small_bundle).model_version
    smoke.python_func(published=str(small_bundle), storage_uri="s3://models", namespace="shop")
    assert capsys.readouterr().out == f"{service} serves item, user, scene with model {version}\n"


def test_another_model_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    contract = load_contract(small_bundle)
    contract.model_copy(update={"model_version": 78}).save(tmp_path)
    with pytest.raises(NotServing, match=r"serves model version 77, contract \w{12}; deployed: 78, \w{12}"):
        smoke_through_service(tmp_path, "recommender", "shop", seconds=0)
    contract.model_copy(update={"metrics": {"item": {"ndcg@10": 0.5}}}).save(tmp_path)
    with pytest.raises(
        NotServing, match=rf"contract {contract.checksum[:12]}; deployed: 77, (?!{contract.checksum[:12]})"
    ):
        smoke_through_service(tmp_path, "recommender", "shop", seconds=0)


def test_a_task_that_is_not_answered_is_refused(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contract = load_contract(small_bundle)
    tasks = [*contract.scenario.tasks, SimpleNamespace(name="liked")]
    more = SimpleNamespace(
        model_version=contract.model_version, checksum=contract.checksum, scenario=SimpleNamespace(tasks=tasks)
    )
    monkeypatch.setattr("serving.rollout.smoke_bundle.load_contract", lambda folder, verify_files: more)
    with pytest.raises(NotServing, match="liked"):
        smoke_through_service(small_bundle, "recommender", "shop", seconds=0)
