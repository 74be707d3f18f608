"""Behaviour specific to Kubeflow Model Registry: its token, pages, conflicts, errors and deadlines."""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from polytask.registry.folder import FolderRegistry
from polytask.registry.version import RegistryError
from polytask.scenario import Scenario
from serving.registry.address import TOKEN_PATH, open_registry
from serving.registry.kubeflow import KubeflowRegistry
from tests.serving.registry.published import published
from tests.serving.registry.registry_server import Problem, State, serving


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def url(state: State) -> Iterator[str]:
    with serving(state) as address:
        yield address


@pytest.fixture
def registry(url: str, tmp_path: Path) -> KubeflowRegistry:
    return KubeflowRegistry(url, "small", tmp_path, seconds=5.0)


def test_the_users_of_the_interface_see_metrics_and_lineage(
    registry: KubeflowRegistry, state: State, small_scenario: Scenario, tmp_path: Path
) -> None:
    registry.register(published(small_scenario, tmp_path, 1), None, {"encoder": "MiniLM"})
    registry.promote(1)
    (version,) = state.versions
    properties = {name: value for name, value in version["customProperties"].items() if "." in name}
    assert properties["metric.item.ndcg@10"] == {"double_value": 0.1, "metadataType": "MetadataDoubleValue"}
    assert properties["lineage.encoder"]["string_value"] == "MiniLM"
    (model,) = state.models
    assert (model["name"], model["customProperties"]["live_version"]["string_value"]) == ("small", "1")
    (artifact,) = state.artifacts
    assert (artifact["uri"], artifact["modelFormatName"]) == (str(tmp_path / "1"), "triton")
    theirs = {"string_value": "by hand", "metadataType": "MetadataStringValue"}
    version["customProperties"]["reviewed"] = theirs
    registry.register(tmp_path / "1", None, {})
    assert version["customProperties"]["reviewed"] == theirs
    assert len(state.artifacts) == len(state.versions) == len(state.models) == 1


def test_all_pages_are_read(registry: KubeflowRegistry, state: State, small_scenario: Scenario, tmp_path: Path) -> None:
    for number in range(1, 6):
        registry.register(published(small_scenario, tmp_path, number), None, {})
    state.versions.append({**state.versions[0], "id": "77", "name": "by hand", "customProperties": {}})
    state.calls.clear()
    assert [version.version for version in registry.versions()] == [1, 2, 3, 4, 5]
    assert sum(path.endswith("/versions") for _, path in state.calls) == 3


def test_elsewhere_the_address_says_where_a_bundle_lies(
    registry: KubeflowRegistry, url: str, small_scenario: Scenario, tmp_path: Path
) -> None:
    registry.register(published(small_scenario, tmp_path, 1), None, {})
    registry.promote(1)
    live = KubeflowRegistry(url, "small", tmp_path / "another machine").live()
    assert live is not None
    assert (live.bundle, live.checkpoint) == (str(tmp_path / "1"), None)
    assert KubeflowRegistry(url, "other", tmp_path).live() is None


def test_two_clients_register_at_once(
    registry: KubeflowRegistry, state: State, small_scenario: Scenario, tmp_path: Path
) -> None:
    registry.register(published(small_scenario, tmp_path, 1), None, {"encoder": "first"})
    state.hidden = 1  # the model was not there when it was looked for
    registry.register(tmp_path / "1", None, {"encoder": "second"})
    assert ("POST", "/registered_models") in state.calls[1:]
    (version,) = registry.versions()
    assert version.lineage == {"encoder": "second"}
    assert len(state.models) == 1


def test_eight_clients_register_the_same_versions_at_once(
    url: str, state: State, small_scenario: Scenario, tmp_path: Path
) -> None:
    """Each finds nothing, so each creates: the look-ups end before the first creation."""
    clients = 8
    bundles = [published(small_scenario, tmp_path / "published", number) for number in (1, 2)]
    waiting = {kind: threading.Barrier(clients) for kind in ("registered_models", "model_versions", "artifacts")}
    create = state.answer

    def together(method: str, path: str, query: dict[str, str], body: Any) -> Any:
        kind = path.rpartition("/")[2]
        if method == "POST" and kind in waiting and not waiting[kind].broken:
            with contextlib.suppress(threading.BrokenBarrierError):
                waiting[kind].wait(2.0)
        return create(method, path, query, body)

    state.answer = together  # type: ignore[method-assign]

    def register(client: int) -> None:
        registry = KubeflowRegistry(url, "small", tmp_path / "published", seconds=30.0)
        for bundle in bundles:
            registry.register(bundle, None, {"client": str(client)})

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(register, range(clients)))
    assert (len(state.models), len(state.versions), len(state.artifacts)) == (1, 2, 2)


def test_a_server_without_the_api_v1_is_named(registry: KubeflowRegistry, state: State) -> None:
    assert registry.versions() == []  # a server of today that knows no such model
    state.older = True
    for call in (registry.versions, registry.live, lambda: registry.promote(1)):
        with pytest.raises(RegistryError, match=r"has no API v1 .*required: Model Registry >= "):
            call()


def test_the_token_is_sent_and_asked_for(
    url: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.token = "secret"
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:\d+: 401 Unauthorized: no valid token"):
        open_registry(url, tmp_path, "small").versions()
    (tmp_path / "token").write_text("secret\n", encoding="utf-8")
    monkeypatch.setenv(TOKEN_PATH, str(tmp_path / "token"))
    assert open_registry(url, tmp_path, "small").versions() == []
    assert state.tokens == {None, "Bearer secret"}
    monkeypatch.setenv(TOKEN_PATH, str(tmp_path / "nothing"))
    with pytest.raises(RegistryError, match=r"KF_PIPELINES_SA_TOKEN_PATH: .*nothing cannot be read: No such file"):
        open_registry(url, tmp_path, "small")


def test_a_busy_server_is_asked_again_and_a_broken_one_named(registry: KubeflowRegistry, state: State) -> None:
    state.failures = [503, 500]
    assert registry.versions() == []
    state.failures = [500] * 10
    with pytest.raises(
        RegistryError, match=r"127\.0\.0\.1:\d+: 500 Internal Server Error: the database is unavailable$"
    ):
        registry.live()


def test_a_failure_in_the_middle_leaves_the_live_version(
    registry: KubeflowRegistry, state: State, small_scenario: Scenario, tmp_path: Path
) -> None:
    for number in (1, 2):
        registry.register(published(small_scenario, tmp_path, number), None, {})
    registry.promote(1)
    calls = len(state.calls)
    registry.promote(2)
    last = len(state.calls) - calls
    registry.promote(1)
    answer, count = state.answer, iter(range(last))

    def fail_at_the_last(*arguments):
        if next(count) == last - 1:
            raise Problem(500, "gone")
        return answer(*arguments)

    state.answer = fail_at_the_last
    with pytest.raises(RegistryError, match="500"):
        registry.promote(2)
    state.answer = answer
    live = registry.live()
    assert live is not None and live.version == 1
    assert (tmp_path / "current").resolve().name == "1"


def test_a_slow_server_and_none(url: str, state: State, tmp_path: Path) -> None:
    state.delay = 1.0
    started = time.monotonic()
    with pytest.raises(RegistryError, match=r"did not respond in 0.2 s"):
        KubeflowRegistry(url, "small", tmp_path, seconds=0.2).live()
    assert time.monotonic() - started < 0.9
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:1: the model registry cannot be reached: .*refused|Connect"):
        KubeflowRegistry("http://127.0.0.1:1", "small", tmp_path).live()


def test_the_client_leaves_logging_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a new process: imported for the first time, before anyone has set up logging."""
    monkeypatch.setattr(logging.root, "handlers", [])
    for name in [name for name in sys.modules if name.partition(".")[0] == "model_registry"]:
        monkeypatch.delitem(sys.modules, name)
    KubeflowRegistry("http://127.0.0.1:1", "small", tmp_path)
    assert "model_registry._client" in sys.modules
    assert logging.root.handlers == []


@pytest.mark.parametrize(
    "setting",
    ["ftp://host", "http://", "https://host/path", "http://host?modle=a", "http://host:port", "http://me:pw@host"],
)
def test_settings_that_are_none(setting: str, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="allowed: ") as raised:
        open_registry(setting, tmp_path, "small")
    assert "pw" not in str(raised.value)


def test_settings(tmp_path: Path) -> None:
    assert isinstance(open_registry("", tmp_path, "small"), FolderRegistry)
    assert str(open_registry(str(tmp_path / "b"), tmp_path, "small")) == str(tmp_path / "b")
    assert str(open_registry("https://host", tmp_path, "small")) == "https://host:443, model small"
    assert str(open_registry("http://host?model=a", tmp_path, "small")) == "http://host:8080, model a"
