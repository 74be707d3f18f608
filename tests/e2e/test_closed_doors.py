"""Access that no client has: to the credentials of a request, and to the switch to another model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tritonclient.grpc import service_pb2

from serving.local.console import ConsoleProcess
from serving.local.explainer import ExplainerProcess
from serving.local.stack import LocalStack
from serving.local.transformer import TransformerProcess
from serving.local.triton import HOST, choose_ports
from tests.e2e.marked import MARK, Sent, grpc_calls, over_rest, rest_calls
from tests.e2e.test_stress import wait_for

INFER = "/v2/models/recommender/infer"
EXPLAIN = "/v1/models/recommender:explain"
LOAD = "/v2/repository/models/recommender/load"
USER = json.dumps({"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [10]}]}).encode()
INSTANCE = json.dumps({"instances": [{"user_id": 10}], "tasks": ["scene"]}).encode()


def one_user() -> Any:
    message = service_pb2.ModelInferRequest(model_name="recommender")
    message.inputs.add(name="user_id", datatype="INT64", shape=[1, 1])
    message.raw_input_contents.append((10).to_bytes(8, "little"))
    return message


class Servers:
    """A transformer as a cluster starts it, without --release, an explainer and a console. All log at debug level."""

    def __init__(self, stack: LocalStack, bundle: Path, store: Path, logs: Path) -> None:
        self.http_port, self.grpc_port = choose_ports(None, None)
        options = {
            "--predictor_host": stack.triton.grpc_address,
            "--bundle": bundle,
            "--feature_store": store,
            "--http_port": self.http_port,
            "--grpc_port": self.grpc_port,
            "--log_level": "DEBUG",
        }
        self.triton = stack.triton
        self.transformer = TransformerProcess(lambda: options, logs / "transformer.log", self.http_port, 2.0)
        self.explainer = ExplainerProcess(stack.triton.grpc_address, bundle, store, logs / "explainer.log")
        self.explainer._options["--log_level"] = "DEBUG"
        self.console = ConsoleProcess(self.grpc_url, bundle, store, logs / "console.log")

    @property
    def rest_url(self) -> str:
        return f"http://{HOST}:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        return f"{HOST}:{self.grpc_port}"

    def start(self) -> None:
        for server in (self.transformer, self.explainer, self.console):
            server.start()
        self.transformer.wait_until_ready(120, lambda: None)
        self.explainer.wait_until_ready(120)
        wait_for(lambda: over_rest(self.console.address[:-1], "/page.css", b"", method="GET").status == 200, "no page")

    def stop(self) -> None:
        for server in (self.console, self.explainer, self.transformer):
            server.stop()


@pytest.fixture(scope="module")
def servers(
    small_stack: LocalStack, small_bundle: Path, small_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Servers]:
    running = Servers(small_stack, small_bundle, small_store, tmp_path_factory.mktemp("doors"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


def check(calls: list[Sent], expected: set[int | str]) -> None:
    leaks = [f"{one.call} -> {one.status}: {one.received[:500]}" for one in calls if MARK in one.received]
    assert not leaks, "\n".join(leaks)
    assert expected <= {one.status for one in calls}, [(one.call, one.status) for one in calls]


def test_no_credential_of_a_call_of_the_transformer_comes_back(servers: Servers):
    check(list(rest_calls(servers.rest_url, INFER, USER)), {200, 400, 403, 404, 405, 413})
    expected = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED", "PERMISSION_DENIED"}
    check(list(grpc_calls(servers.grpc_url, one_user())), expected)
    assert MARK not in servers.transformer.log.read_text(encoding="utf-8")


def test_no_credential_of_a_call_of_the_explainer_comes_back(servers: Servers):
    check(list(rest_calls(servers.explainer.url, EXPLAIN, INSTANCE)), {200, 400, 403, 404, 405, 413})
    assert MARK not in servers.explainer.log.read_text(encoding="utf-8")


def test_no_credential_of_a_call_of_triton_comes_back(servers: Servers):
    url = f"http://{HOST}:{servers.triton.http_port}"
    calls = [
        over_rest(url, path, body, method=method)
        for path, body, method in (
            (INFER, USER, "POST"),
            (INFER, b"{", "POST"),
            ("/nowhere", b"", "GET"),
            ("/v2/models/recommender", b"", "GET"),
        )
    ]
    check(calls, {200, 400, 404})
    check(list(grpc_calls(servers.triton.grpc_address, service_pb2.ModelInferRequest())), {"OK", "INVALID_ARGUMENT"})
    assert MARK not in servers.triton.log.read_text(encoding="utf-8")


def test_no_credential_of_a_call_of_the_console_comes_back(servers: Servers):
    url = servers.console.address[:-1]
    calls = [
        over_rest(url, path, b"", extra, method)
        for path, extra, method in (
            ("/?user=10", {}, "GET"),
            ("/?user=nobody", {}, "GET"),
            ("/suggest/items?text=a", {}, "GET"),
            ("/nowhere", {}, "GET"),
            ("/static/../app.py", {}, "GET"),
            ("/", {}, "POST"),
            ("/", {"host": "elsewhere.example"}, "GET"),
        )
    ]
    check(calls, {200, 400, 404, 405})
    assert MARK not in servers.console.log.read_text(encoding="utf-8")


def test_load_is_disabled_unless_a_release_file_is_named(servers: Servers):
    logged = "repository API: {} is disabled; it is enabled by the server's option --release"
    for url in (servers.rest_url, servers.explainer.url):
        for method in ("load", "unload"):
            got = httpx.post(f"{url}/v2/repository/models/recommender/{method}", timeout=20)
            assert (got.status_code, got.json()) == (403, {"error": logged.format(method)})
    calls = {one.call: one for one in grpc_calls(servers.grpc_url, one_user())}
    for method, name in (("RepositoryModelLoad", "load"), ("RepositoryModelUnload", "unload")):
        assert calls[method].status == "PERMISSION_DENIED"
        assert logged.format(name) in calls[method].received.replace("\\'", "'")
    assert calls["RepositoryIndex"].status == "UNIMPLEMENTED"


def test_a_stack_of_this_machine_loads_what_its_file_names_and_nothing_else(small_stack: LocalStack):
    got = httpx.post(f"{small_stack.rest_url}/v2/repository/models/recommender/unload", timeout=20)
    assert (got.status_code, got.json()["error"]) == (400, "recommender: cannot be unloaded, allowed: load")
    # Nobody has written the file yet.
    got = httpx.post(small_stack.rest_url + LOAD, timeout=20)
    assert got.status_code == 503 and "release.json: allowed: JSON with bundle" in got.json()["error"]
