"""A registry that is unavailable at the start is waited for, and then reported in one line."""

import logging
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.local.server_process import server_environment
from serving.local.triton import choose_ports
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.features import reader as features
from serving.transformer.features.reader import FeatureReader
from serving.transformer.server import start
from serving.transformer.server.start import wait_for_registry

GONE = Unavailable("feature registry: UNAVAILABLE: connection refused")


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "RETRY_SECONDS", 0.01)


def test_a_registry_that_comes_back_is_used(caplog: pytest.LogCaptureFixture):
    outcomes: list[Exception | int] = [GONE, GONE, 7]

    def open_all() -> int:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with caplog.at_level(logging.WARNING):
        assert wait_for_registry(open_all, 30.0) == 7
    assert [record.getMessage().partition("; retrying")[0] for record in caplog.records] == [f"start: {GONE}"] * 2


def test_it_gives_up_with_the_reason():
    def open_all() -> None:
        raise GONE

    with pytest.raises(Unavailable, match=r"connection refused; gave up after 0\.1 s \(--registry_seconds\)"):
        wait_for_registry(open_all, 0.1)


def test_what_waiting_does_not_help_is_raised_at_once():
    calls = []

    def open_all() -> None:
        calls.append(1)
        raise ContractError("has feature services none")

    with pytest.raises(ContractError):
        wait_for_registry(open_all, 30.0)
    assert len(calls) == 1


def test_a_registry_that_never_answers_is_given_up(
    small_scenario: Scenario, small_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It accepts connections and sends nothing."""
    monkeypatch.setattr(features, "REGISTRY_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        registry = {"registry_type": "remote", "path": f"127.0.0.1:{silent.getsockname()[1]}"}
        store = store_with(registry, small_store, tmp_path)
        with pytest.raises(
            Unavailable, match=r"feature registry: (no response within the deadline of 1 s|UNAVAILABLE)"
        ):
            FeatureReader(store, small_scenario)


def store_with(registry: object, small_store: Path, folder: Path) -> Path:
    """A copy of a feature store whose settings name another registry."""
    copy = shutil.copytree(small_store, folder / "store")
    settings = yaml.safe_load((copy / "feature_store.yaml").read_text(encoding="utf-8"))
    settings["registry"] = registry
    (copy / "feature_store.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return copy


@pytest.mark.parametrize("kind", ["remote", "sql"])
def test_each_kind_of_registry_that_is_unavailable_is_reported_as_such(
    small_scenario: Scenario, small_store: Path, tmp_path: Path, kind: str
):
    (port,) = choose_ports(None)[:1]
    registry = {
        "remote": {"registry_type": "remote", "path": f"127.0.0.1:{port}"},
        "sql": {"registry_type": "sql", "path": f"postgresql+psycopg://nobody@127.0.0.1:{port}/feast"},
    }[kind]
    with pytest.raises(Unavailable, match=r"^feature registry: \w+: .*[Cc]onnection refused") as caught:
        FeatureReader(store_with(registry, small_store, tmp_path), small_scenario)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("module", ["serving.transformer", "serving.explainer"])
def test_a_server_ends_with_one_line(ruled_bundle: Path, small_store: Path, tmp_path: Path, module: str):
    (port,) = choose_ports(None)[:1]
    store = store_with({"registry_type": "remote", "path": f"127.0.0.1:{port}"}, small_store, tmp_path)
    done = subprocess.run(
        [
            *(sys.executable, "-m", module, f"--bundle={ruled_bundle}", f"--feature_store={store}"),
            *("--predictor_host=127.0.0.1:9", "--predictor_protocol=grpc-v2", "--registry_seconds=1"),
        ],
        env=server_environment(),
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: feature registry: ")]
    assert (done.returncode, len(errors)) == (1, 1), done.stderr
    assert "gave up after 1 s (--registry_seconds)" in errors[0]
    assert "Traceback" not in done.stderr
