"""The local stack as a process: it starts, serves the command line, refuses a bad bundle, leaves no file or process."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from polytask.contract.contract import load_contract
from polytask.data.tables import Tables
from polytask.errors import ContractError, ServingError
from polytask.scenario import Scenario
from serving.local.install import TritonInstallation
from serving.local.stack import STATE_FILE, LocalStack, read_state
from serving.local.triton import choose_ports
from tests.serving.bundle import VERSION, write_bundle

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "import sys, typer; from serving.commands import recommend, serve; name = sys.argv.pop(1); "
    "typer.run(getattr({'recommend': recommend, 'serve': serve}[name], name))"
)
EXPLAIN = "import typer; from serving.explainer.cli import explain; typer.run(explain)"
CACHE = os.environ.get("POLYTASK_CACHE", str(ROOT / "build" / "cache"))


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", COMMANDS, *words]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "POLYTASK_CACHE": CACHE}


def send_request(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("recommend", *words), cwd=folder, env=environment(), capture_output=True, text=True, timeout=60
    )


def processes_of(bundle: Path) -> list[int]:
    """Ids of the processes whose command line names the bundle: Triton, the transformer and the console over it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked, so it is not left over
            servers = "tritonserver|serving.transformer|serving.console|serving.explainer"
            if str(bundle) in words and re.search(servers, words):
                found.append(int(folder.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_runs_until_a_signal_and_leaves_nothing(
    small_bundle: Path,
    small_store: Path,
    triton_installation: TritonInstallation,
    tmp_path: Path,
    number: signal.Signals,
):
    bundle = tmp_path / "bundle"
    bundle.symlink_to(small_bundle)
    [port] = choose_ports(None)
    words = ["serve", "--bundle", str(bundle), "--feature-store", str(small_store), "--console-port", str(port)]
    before = set(processes_of(small_bundle))
    with subprocess.Popen(
        command(*words), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as serving:
        try:
            deadline = time.monotonic() + 90
            while read_state(tmp_path / STATE_FILE) is None:
                assert serving.poll() is None, serving.stdout.read()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert len(set(processes_of(small_bundle)) - before) >= 3
            if number == signal.SIGINT:
                check_commands(tmp_path)
                check_console(port)
                check_explanation(tmp_path)
        finally:
            serving.send_signal(number)
            output, _ = serving.communicate(timeout=40)
    assert "gRPC    127.0.0.1:" in output
    assert f"Console http://127.0.0.1:{port}/" in output
    assert serving.returncode == (0 if number == signal.SIGINT else 128 + number)
    assert set(processes_of(small_bundle)) == before
    assert not (tmp_path / STATE_FILE).exists()


def check_console(port: int) -> None:
    deadline, page = time.monotonic() + 30, ""
    while "version 77, response in" not in page:
        assert time.monotonic() < deadline, page
        with contextlib.suppress(httpx.TransportError):  # retried until the deadline above
            page = httpx.get(f"http://127.0.0.1:{port}/?user=10").text
        time.sleep(0.1)
    assert "History: last 10, newest first" in page


def check_explanation(folder: Path) -> None:
    """The explainer is the last to start."""
    deadline = time.monotonic() + 60
    while True:
        shown = subprocess.run(
            [sys.executable, "-c", EXPLAIN, "--user", "10", "--task", "scene"],
            cwd=folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        if shown.returncode == 0:
            break
        assert time.monotonic() < deadline, shown.stderr
    assert "history" in shown.stdout


def check_commands(folder: Path) -> None:
    shown = send_request(folder, "--user", "10", "--query", "a ghost story")
    assert shown.returncode == 0, shown.stderr
    titles = ("Next (item)", "Similar users (user)", "Category (scene)", "a ghost story")
    assert all(title in shown.stdout for title in titles)
    answer = json.loads(send_request(folder, "--user", "10", "--task", "item", "--k", "2", "--json").stdout)
    assert (list(answer["tasks"]), len(answer["tasks"]["item"])) == (["item"], 2)
    first = answer["tasks"]["item"][0]["id"]
    words = ["--disliked-item", str(first), "--slate", "4", "--task-weight", "item=2", "--json"]
    answer = json.loads(send_request(folder, "--user", "10", *words).stdout)
    assert first not in [entry["id"] for entry in answer["tasks"]["item"]]
    assert len(answer["slate"]) == 4
    assert answer["priority"] == pytest.approx({"item": 0.5, "user": 0.25, "scene": 0.25})
    assert "All of it, by priority" in send_request(folder, "--user", "10", "--slate", "3").stdout
    refused = send_request(folder, "--user", "ten")
    assert refused.returncode != 0
    assert "--user: 'ten', allowed: a whole number" in refused.stderr


def test_a_predictor_that_serves_another_version_is_refused(
    small_scenario: Scenario, tables: Tables, small_store: Path, triton_installation: TritonInstallation, tmp_path: Path
):
    bundle = tmp_path / "bundle"
    write_bundle(bundle, small_scenario, tables)
    contract = load_contract(bundle)
    contract.model_copy(update={"model_version": VERSION + 1}).save(bundle)
    stack = LocalStack(bundle, small_store, installation=triton_installation, logs=tmp_path / "logs")
    with pytest.raises(ContractError, match=f"serves version {VERSION}, the contract requires {VERSION + 1}"):
        stack.start()
    assert processes_of(bundle) == []


def test_a_transformer_that_cannot_start_says_why(
    small_bundle: Path, triton_installation: TritonInstallation, tmp_path: Path
):
    (tmp_path / "feature_store.yaml").write_text(
        "project: other\nprovider: local\nregistry: registry.db\nonline_store: {type: sqlite, path: online.db}\n"
        "entity_key_serialization_version: 3\n"
    )
    before = set(processes_of(small_bundle))
    stack = LocalStack(small_bundle, tmp_path, installation=triton_installation, logs=tmp_path / "logs")
    with pytest.raises(ServingError, match="has feature services none; the contract requires small_v1"):
        stack.start()
    assert set(processes_of(small_bundle)) == before


def test_only_this_machine_is_listened_to(small_stack: LocalStack):
    """127.0.0.2 is this machine too: a server that binds all addresses accepts connections there."""
    for port in (small_stack.http_port, small_stack.grpc_port, small_stack.triton.http_port):
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            pass
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_missing_parts_are_named_before_anything_starts(small_bundle: Path, tmp_path: Path):
    with pytest.raises(ServingError, match="holds no exported model"):
        LocalStack(tmp_path, tmp_path)
    with pytest.raises(ServingError, match=r"holds no feature_store\.yaml"):
        LocalStack(small_bundle, tmp_path)


def test_a_bundle_of_an_older_format_is_refused_before_anything_starts(
    ruled_bundle: Path, small_store: Path, triton_installation: TritonInstallation, tmp_path: Path
) -> None:
    older = shutil.copytree(ruled_bundle, tmp_path / "older")
    contract = older / "contract.json"
    contract.write_text(json.dumps({**json.loads(contract.read_text()), "format": 1}))
    message = "contract.json: format 1; this program reads format 2: export it again$"
    with pytest.raises(ContractError, match=message):
        LocalStack(older, small_store, installation=triton_installation, logs=tmp_path / "logs")
    source = tmp_path / "current"
    source.symlink_to(ruled_bundle)
    with LocalStack(source, small_store, installation=triton_installation, logs=tmp_path / "logs") as stack:
        served = stack.bundle
        source.unlink()
        source.symlink_to(older)
        with pytest.raises(ContractError, match=message):
            stack.reload()
        assert stack.bundle == served


def test_a_state_file_of_a_dead_process_counts_as_none(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    (tmp_path / "serve.json").write_text(json.dumps({"pid": dead.pid}))
    assert read_state(tmp_path / "serve.json") is None
    (tmp_path / "serve.json").write_text(json.dumps({"pid": os.getpid()}))
    assert read_state(tmp_path / "serve.json") == {"pid": os.getpid()}
