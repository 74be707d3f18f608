"""Another version under load: one version serves a call from start to end, and no call fails."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from polytask.client import RecommenderClient, explain
from polytask.data.tables import Tables
from polytask.errors import PolytaskError, RequestError, ServingError
from polytask.scenario import Scenario
from serving.local.install import TritonInstallation
from serving.local.stack import LocalStack
from serving.local.triton import choose_ports
from serving.rollout.publish import publish
from tests.e2e.test_stress import over_rest, ready, wait_for
from tests.serving.bundle import write_bundle

FIRST, SECOND = 101, 102
USERS = range(10, 210, 10)


@pytest.fixture(scope="module")
def bundles(small_scenario: Scenario, tables: Tables, tmp_path_factory) -> dict[int, Path]:
    """Two versions that differ: the second has one task fewer, and so another contract and other tensors."""
    folder = tmp_path_factory.mktemp("versions")
    fewer = small_scenario.model_copy(update={"tasks": small_scenario.tasks[:2]})
    for version, scenario in ((FIRST, small_scenario), (SECOND, fewer)):
        write_bundle(folder / str(version), scenario, tables, version)
    return {version: folder / str(version) for version in (FIRST, SECOND)}


@pytest.fixture(scope="module")
def published(bundles: dict[int, Path], tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    publish(bundles[FIRST], folder)
    return folder


@pytest.fixture(scope="module")
def stack(
    published: Path, small_store: Path, triton_installation: TritonInstallation, tmp_path_factory
) -> Iterator[LocalStack]:
    with LocalStack(
        published / "current",
        small_store,
        installation=triton_installation,
        logs=tmp_path_factory.mktemp("logs"),
        deadline_seconds=5.0,
    ) as stack:
        yield stack


class Callers:
    """Threads that send requests without a pause; `answers` holds (version, tasks), `errors` the failed calls."""

    def __init__(self, stack: LocalStack) -> None:
        self.stack = stack
        self.answers: list[tuple[int, tuple[str, ...]]] = []
        self.errors: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._grpc, self._grpc, self._rest)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(timeout=30)

    def _grpc(self) -> None:
        # One attempt: a retry would hide a failed call.
        with RecommenderClient(self.stack.grpc_url, attempts=1) as client:
            turn = 0
            while not self._end.is_set():
                turn += 1
                try:
                    # A new text each time, so that both models are called.
                    answer = client.recommend(USERS[turn % len(USERS)], query=f"query {turn}", k=3)
                    self.answers.append((int(answer.model_version), tuple(answer.tasks)))
                except PolytaskError as error:
                    self.errors.append(repr(error))

    def _rest(self) -> None:
        while not self._end.is_set():
            status = over_rest(self.stack)
            if status != 200:
                self.errors.append(f"REST {status}")

    def has_seen(self, version: int, count: int = 20) -> None:
        """Return after `count` more responses of a version."""
        start, end = len(self.answers), time.monotonic() + 30
        while sum(seen == version for seen, _ in self.answers[start:]) < count:
            assert time.monotonic() < end, (version, self.errors[:3])
            time.sleep(0.02)


def test_another_version_and_back_without_a_failed_call(stack: LocalStack, published: Path, bundles: dict[int, Path]):
    tritons = {stack.triton.process_id}
    with Callers(stack) as callers:
        callers.has_seen(FIRST)
        for version in (SECOND, FIRST):
            publish(bundles[version], published)
            stack.reload()
            before = len(callers.answers)
            tritons.add(stack.triton.process_id)
            callers.has_seen(version)
            # Calls that began before the switch have ended: each of these began after it, or was recorded just now.
            late = [seen for seen, _ in callers.answers[before + 2 :]]
            assert set(late) == {version}
            assert stack.state()["bundle"] == str(published / str(version))
    assert callers.errors == []
    assert set(callers.answers) == {(FIRST, ("item", "user", "scene")), (SECOND, ("item", "user"))}
    assert len(tritons) == 3
    assert sum(Path(f"/proc/{process}").exists() for process in tritons) == 1


def test_an_explainer_follows_and_loses_no_call(
    stack: LocalStack, published: Path, bundles: dict[int, Path], tmp_path: Path
):
    explainer = stack.add_explainer(tmp_path / "explainer.log")
    versions: list[str] = []
    failed: list[str] = []
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            try:
                versions.append(explain(explainer.url, 10, tasks=["item"], attempts=1).model_version)
            except PolytaskError as error:
                failed.append(repr(error))

    requesting = threading.Thread(target=work)
    try:
        explainer.start()
        explainer.wait_until_ready()
        assert stack.state()["explainer"] == explainer.url
        requesting.start()
        wait_for(lambda: str(FIRST) in versions, "no explanation")
        publish(bundles[SECOND], published)
        stack.reload()
        before = len(versions)
        wait_for(lambda: len(versions) > before + 3, "no explanation after the reload")
        end.set()
        requesting.join(timeout=30)
        assert set(versions[before + 1 :]) == {str(SECOND)}
        assert failed == []
        with pytest.raises(RequestError, match="scene"):
            explain(explainer.url, 10, tasks=["scene"])
    finally:
        end.set()
        explainer.stop()
        stack.explainer = None
        publish(bundles[FIRST], published)
        stack.reload()


def test_a_bundle_that_cannot_be_served_changes_nothing(
    stack: LocalStack, published: Path, bundles: dict[int, Path], small_scenario: Scenario, tables: Tables, tmp_path
):
    features = small_scenario.features.model_copy(update={"version": 9})
    write_bundle(tmp_path / "bundle", small_scenario.model_copy(update={"features": features}), tables, 103)
    served, process = stack.bundle, stack.triton.process_id
    publish(tmp_path / "bundle", published)
    with pytest.raises(ServingError, match="small_v1; the contract requires small_v9"):
        stack.reload()
    assert (stack.bundle, stack.triton.process_id) == (served, process)
    assert ready(stack) == (200, "")
    assert over_rest(stack) == 200
    publish(bundles[FIRST], published)


def test_a_release_whose_predictor_is_not_there_is_not_served(stack: LocalStack, bundles: dict[int, Path]):
    other = next(path for path in bundles.values() if path.name != stack.bundle.name)
    nowhere = f"127.0.0.1:{choose_ports(None)[0]}"
    (stack.logs / "release.json").write_text(json.dumps({"bundle": str(other), "predictor_host": nowhere}))
    with pytest.raises(ServingError, match=f"predictor model text_encoder at {nowhere}"):
        stack._transformer.load(30)
    assert ready(stack) == (200, "")
    with RecommenderClient(stack.grpc_url, attempts=1) as client:
        assert client.recommend(10).model_version == stack.bundle.name


def test_waiting_notices_a_new_version_and_says_what_it_does(
    stack: LocalStack, published: Path, bundles: dict[int, Path]
):
    reported: list[str] = []

    class Enough(Exception):
        pass

    def report(line: str) -> None:
        reported.append(line)
        if len(reported) == 2:
            raise Enough
        (published / "current").unlink()
        publish(bundles[SECOND], published)

    publish(bundles[FIRST], published)
    (published / "current").unlink()
    (published / "current").symlink_to("nowhere")
    with pytest.raises(Enough):
        stack.wait(report)
    assert "holds no exported model" in reported[0]
    assert reported[0].startswith("still serving")
    assert reported[1] == f"serving {published / str(SECOND)}"
    with RecommenderClient(stack.grpc_url) as client:
        assert client.recommend(10).model_version == str(SECOND)
