"""The explainer over the wire, with the running stack: its own process, the same Triton, the same features."""

import json
import os
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from polytask.client import RecommenderClient, ServiceUnavailable
from polytask.client import explain as send_request
from polytask.data.tables import Tables
from polytask.errors import RequestError, ServingError
from serving.explainer.cli import explain
from serving.local.explainer import ExplainerProcess
from serving.local.stack import LocalStack
from serving.local.triton import choose_ports
from tests.e2e.test_stress import wait_for
from tests.serving.bundle import HISTORY_SHARE, VERSION

HALF = b'{"instances": [{"user_id": 10, "query": "film \\ud83d"}]}'
UNKNOWN = 999_999
EXPLAIN = "/v1/models/recommender:explain"


@pytest.fixture(scope="module")
def explainer(
    small_stack: LocalStack, small_bundle: Path, small_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ExplainerProcess]:
    log = tmp_path_factory.mktemp("explainer") / "explainer.log"
    process = ExplainerProcess(small_stack.triton.grpc_address, small_bundle, small_store, log)
    try:
        process.start()
        process.wait_until_ready()
        yield process
    finally:
        process.stop()


def test_contributions_are_those_of_the_rule(explainer: ExplainerProcess, small_stack: LocalStack, tables: Tables):
    found = send_request(explainer.url, 10, tasks=["scene", "item"])
    with RecommenderClient(small_stack.grpc_url) as client:
        answer = client.recommend(10, k=1)
    assert found.tasks["scene"].answer == answer.tasks["scene"][0]
    assert found.tasks["item"].answer == answer.tasks["item"][0]
    assert (found.model_version, found.contract_checksum) == (str(VERSION), answer.contract_checksum)
    events = tables.interactions
    newest = events["item_id"][events["user_id"] == 10].tolist()[-10:]
    row_of = {item: row for row, item in enumerate(tables.items["item_id"].tolist(), start=1)}
    # The last of four classes scores three times a thousandth of the history's rows.
    expected = sorted(((3 * HISTORY_SHARE * row_of[item], item) for item in newest), reverse=True)
    history = found.tasks["scene"].history
    assert [item.id for item in history] == [item for _, item in expected]
    assert [item.contribution for item in history] == pytest.approx([value for value, _ in expected], abs=1e-5)
    titles = dict(zip(tables.items["item_id"], tables.items["title"], strict=True))
    assert [item.title for item in history] == [titles[item.id] for item in history]
    # Items' scores do not depend on the history here, and on the text all alike.
    assert all(item.contribution == pytest.approx(0, abs=1e-5) for item in found.tasks["item"].history)
    assert {(words.part, words.name) for words in found.tasks["scene"].words} >= {("profile", "age")}
    assert not any(words.at_least for words in found.tasks["scene"].words)


def test_several_users_in_one_call(explainer: ExplainerProcess):
    body = {"instances": [{"user_id": 10}, {"user_id": UNKNOWN, "query": "a western film"}], "tasks": ["scene"]}
    response = httpx.post(f"{explainer.url}/v1/models/recommender:explain", json=body, timeout=10)
    assert response.status_code == 200
    known, unknown = response.json()["explanations"]
    assert (known["user_id"], known["cold_start"]) == (10, False)
    assert (unknown["user_id"], unknown["cold_start"], unknown["tasks"]["scene"]["history"]) == (UNKNOWN, True, [])
    assert {words["text"] for words in unknown["tasks"]["scene"]["words"] if words["part"] == "query"} <= {
        *("a", "western", "film")
    }


def test_what_is_malformed_is_400_with_its_field(explainer: ExplainerProcess):
    with pytest.raises(RequestError) as caught:
        send_request(explainer.url, "ten")
    assert caught.value.field == "user_id"
    url = f"{explainer.url}/v1/models/recommender"
    for body in (b"{nothing", b"[]", b"", b'{"instances": [{"user_id": 1e99}]}', HALF, b'{"instances": [NaN]}'):
        response = httpx.post(f"{url}:explain", content=body, timeout=10)
        assert response.status_code == 400, (body, response.text)
    half = httpx.post(f"{url}:explain", content=HALF, timeout=10)
    assert half.json()["error"].startswith("instances[0].query: is not UTF-8: U+D83D at character 5"), half.text
    assert httpx.post(f"{url}:predict", json={"instances": [{"user_id": 10}]}, timeout=10).status_code == 400
    with pytest.raises(ServingError, match="404"):
        send_request(explainer.url, 10, model="another")


def test_a_predictor_that_hangs_is_unavailable_within_the_deadline(
    explainer: ExplainerProcess, small_stack: LocalStack
):
    triton = small_stack.triton.process_id
    assert triton is not None
    os.kill(triton, signal.SIGSTOP)
    try:
        with pytest.raises(ServiceUnavailable, match="predictor"):
            send_request(explainer.url, 10, query="nobody typed this before", attempts=1, deadline_seconds=20)
        ready = httpx.get(f"{explainer.url}/v2/health/ready", timeout=20)
        assert ready.status_code == 503
        assert "predictor" in ready.json()["error"]
    finally:
        os.kill(triton, signal.SIGCONT)
    assert send_request(explainer.url, 10, deadline_seconds=20).tasks


def test_it_listens_on_its_address_alone(explainer: ExplainerProcess):
    assert httpx.get(f"{explainer.url}/v2/health/live", timeout=5).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(explainer.url.replace("127.0.0.1", "127.0.0.2"), timeout=5)


def scraped(url: str, name: str) -> dict[str, float]:
    """Labels as they stand -> the value of a sample."""
    found = re.findall(rf"^{name}({{.*}})? (\S+)$", httpx.get(f"{url}/metrics", timeout=10).text, re.MULTILINE)
    return {labels: float(value) for labels, value in found}


def test_its_calls_are_on_its_metrics_and_in_its_log(explainer: ExplainerProcess):
    def counts() -> list[float]:
        codes = scraped(explainer.url, "polytask_explainer_requests_total")
        stages = scraped(explainer.url, "polytask_explainer_stage_duration_seconds_count")
        (explained,) = scraped(explainer.url, "polytask_explainer_explanations_total").values()
        return [
            codes.get('{code="OK"}', 0),
            codes.get('{code="INVALID_ARGUMENT"}', 0),
            stages['{stage="predictor"}'],
            explained,
        ]

    before = counts()
    body = {"instances": [{"user_id": 10}, {"user_id": 20}], "tasks": ["scene"]}
    headers = {"x-request-id": "explained-once"}
    assert httpx.post(f"{explainer.url}{EXPLAIN}", json=body, headers=headers, timeout=10).status_code == 200
    with pytest.raises(RequestError):
        send_request(explainer.url, "ten")
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [1, 1, 1, 2]
    assert scraped(explainer.url, "polytask_explainer_requests_in_flight") == {"": 0}
    (labels,) = scraped(explainer.url, "polytask_explainer_bundle_info")
    assert f'model_version="{VERSION}"' in labels
    lines = [json.loads(line) for line in explainer.log.read_text(encoding="utf-8").splitlines()]
    (line,) = [line for line in lines if line.get("request_id") == "explained-once"]
    assert (line["event"], line["code"], line["batch"]) == ("call", "OK", 2)


def test_the_table_names_every_metric_of_the_explainer_and_no_other(explainer: ExplainerProcess):
    table = (Path(__file__).parents[2] / "docs" / "serving-metrics.md").read_text(encoding="utf-8")
    reported = set(re.findall(r"^\| `(polytask_explainer_\w+)` \|", table, re.MULTILINE))
    served = httpx.get(f"{explainer.url}/metrics", timeout=10).text
    families = re.findall(r"^# TYPE (polytask_\w+) ", served, re.MULTILINE)
    assert {name for name in families if not name.endswith("_created")} == reported


def test_a_shutdown_ends_what_was_accepted_and_refuses_the_rest(
    small_stack: LocalStack, small_bundle: Path, small_store: Path, tmp_path: Path
):
    process = ExplainerProcess(small_stack.triton.grpc_address, small_bundle, small_store, tmp_path / "explainer.log")
    triton = small_stack.triton.process_id
    body = {"instances": [{"user_id": 10, "query": "a text that is new to it"}], "tasks": ["scene"]}
    try:
        process.start()
        process.wait_until_ready()
        assert (process.process_id, triton) > (0, 0)
        with ThreadPoolExecutor(2) as pool:
            os.killpg(triton, signal.SIGSTOP)
            try:
                calls = [pool.submit(httpx.post, f"{process.url}{EXPLAIN}", json=body, timeout=20) for _ in range(2)]
                wait_for(
                    lambda: scraped(process.url, "polytask_explainer_requests_in_flight") == {"": 2}, "no call came"
                )
                os.kill(process.process_id, signal.SIGTERM)
                ready = f"{process.url}/v2/health/ready"
                wait_for(lambda: "shutting down" in httpx.get(ready, timeout=5).text, "still ready")
                late = httpx.post(f"{process.url}{EXPLAIN}", json=body, timeout=10)
                assert (late.status_code, "shutting down" in late.text) == (503, True)
                assert not any(call.done() for call in calls)
            finally:
                os.killpg(triton, signal.SIGCONT)
            assert [call.result().status_code for call in calls] == [200, 200]
        wait_for(lambda: not process.runs(), "the explainer did not end")
    finally:
        process.stop()


def test_nobody_there_is_unavailable():
    with pytest.raises(ServiceUnavailable):
        send_request(f"http://127.0.0.1:{choose_ports(None)[0]}", 10, attempts=2, deadline_seconds=2)


def test_the_command_prints_what_moved_the_answer(explainer: ExplainerProcess, tmp_path: Path, monkeypatch):
    app = typer.Typer()
    app.command()(explain)
    shown = CliRunner().invoke(app, ["--user", "10", "--task", "scene", "--url", explainer.url])
    assert shown.exit_code == 0, shown.output
    assert "scene: Western, score" in shown.output
    assert shown.output.count("history") == 5
    second = CliRunner().invoke(
        app, ["--user", "10", "--task", "scene", "--target", "scene=Drama", "--url", explainer.url]
    )
    assert "scene: Drama, score" in second.output
    refused = CliRunner().invoke(app, ["--user", "10", "--target", "item=999999", "--url", explainer.url])
    assert isinstance(refused.exception, RequestError)
    assert "targets.item: 999999 is not among the 10 predictions" in str(refused.exception)
    monkeypatch.chdir(tmp_path)
    nowhere = CliRunner().invoke(app, ["--user", "10"])
    assert isinstance(nowhere.exception, ServingError)
    assert "start one with polytask serve" in str(nowhere.exception)
