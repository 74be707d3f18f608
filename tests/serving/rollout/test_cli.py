"""`polytask rollout` from the command line to the API server, by a kubeconfig."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from polytask.data.tables import Tables
from polytask.registry.folder import FolderRegistry
from polytask.scenario import Scenario
from serving.kubernetes.client import Cluster
from tests.serving.bundle import VERSION, write_bundle
from tests.serving.rollout.api_server import Server
from tests.serving.rollout.conftest import NAMESPACE, State, address
from tests.serving.rollout.object_store import ObjectStore

RUN = "import sys; from typer import Typer; from serving.rollout.cli import rollout\n"
RUN += "app = Typer(); app.command()(rollout); app()"


@pytest.fixture
def kubeconfig(server: Server, tmp_path: Path) -> Path:
    path = tmp_path / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": {"server": server.url}}],
        "users": [{"name": "deployer", "user": {"token": "secret-token"}}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "deployer"}}],
        "current-context": "tests",
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def run(kubeconfig: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    command = [sys.executable, "-c", RUN, *arguments, "--namespace", NAMESPACE]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_bundle_is_rolled_out_and_the_second_time_nothing_changes(
    installed: Cluster,
    state: State,
    server: Server,
    object_store: ObjectStore,
    kubeconfig: Path,
    small_scenario: Scenario,
    tables: Tables,
    tmp_path: Path,
):
    published = tmp_path / "published"
    contract = write_bundle(published / str(VERSION), small_scenario, tables)
    registry = FolderRegistry(published)
    state.contracts[str(VERSION)] = contract.checksum
    state.stale_reads = 0
    arguments = ["--bundle", str(published / str(VERSION)), "--storage-uri", "s3://models/small"]
    arguments += ["--url", server.url + "/services/{name}"]
    done = run(kubeconfig, *arguments, "--registry", str(published))
    assert done.returncode == 0, done.stderr
    assert f"deployed: model {VERSION} in " in done.stdout
    assert address(state) == f"s3://models/small/{VERSION}/repository"
    assert state.tokens == {None, "Bearer secret-token"}  # the fixture has no credentials
    writes = list(state.writes)
    again = run(kubeconfig, *arguments)
    assert (again.returncode, state.writes) == (0, writes)
    written = [key for key in object_store.objects if key.startswith(f"models/small/{VERSION}/repository/")]
    assert len(object_store.written) == len(object_store.objects) > len(written) > 3
    assert f"unchanged: model {VERSION} in " in again.stdout
    assert f"registry {published}: version {VERSION} is live\n" in done.stdout
    assert "no registry was updated; --registry names one" in again.stdout
    live = registry.live()
    assert live is not None
    assert live.version == VERSION
