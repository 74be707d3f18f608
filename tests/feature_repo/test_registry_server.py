"""Feast's registry server with the command of the manifest: TLS, data that survives, definitions written and read."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from feature_repo.apply import build_store
from polytask.scenario import Scenario
from serving.local.triton import choose_ports
from serving.transformer.features.views import open_online_store
from tests.certificates import write_certificates
from tests.serving.manifests.conftest import ROOT

COMPONENT = ROOT / "manifests" / "components" / "feast-registry"
START_SECONDS = 120.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the secret: tls.crt, tls.key, ca.crt."""
    folder = tmp_path_factory.mktemp("tls")
    write_certificates(folder, "feast-registry", "localhost")
    return folder


def command(settings: Path, certificates: Path, port: int) -> list[str]:
    """The container's own command line, with this machine's folders."""
    documents = yaml.safe_load_all((COMPONENT / "registry.yaml").read_text(encoding="utf-8"))
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["feast"]
    paths = {"/etc/feast": str(settings), "/etc/tls": str(certificates), "6570": str(port)}
    arguments = []
    for argument in container["args"]:
        for theirs, ours in paths.items():
            argument = argument.replace(theirs, ours)
        arguments.append(argument)
    return [str(Path(sys.executable).parent / "feast"), *arguments]


@contextmanager
def running(folder: Path, certificates: Path) -> Iterator[int]:
    """The server over the settings of the component, on a free port."""
    settings = folder / "settings"
    settings.mkdir(exist_ok=True)
    text = (COMPONENT / "feature_store.yaml").read_text(encoding="utf-8")
    (settings / "feature_store.yaml").write_text(text.replace("/var/lib/feast", str(folder)), encoding="utf-8")
    settings.chmod(0o555)  # a ConfigMap is read-only
    (port,) = choose_ports(None)[:1]
    log = folder / "log"
    environment = {**os.environ, "FEAST_USAGE": "False", "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(
            command(settings, certificates, port), stdout=file, stderr=subprocess.STDOUT, env=environment
        )
    try:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("localhost", port), 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < end, log.read_text(encoding="utf-8")
                time.sleep(0.2)
        yield port
    finally:
        process.kill()
        process.wait(10)
        settings.chmod(0o755)


def remote(scenario: Scenario, folder: Path, port: int, registry: dict[str, Any]) -> Path:
    """A feature_store.yaml as an overlay has it, for this machine."""
    staging = ROOT / "manifests" / "overlays" / "staging" / "feature_store.yaml"
    settings = yaml.safe_load(staging.read_text(encoding="utf-8"))
    assert settings["registry"]["path"] == "feast-registry:6570"
    settings["project"] = scenario.name
    settings["registry"] |= {"path": f"localhost:{port}", **registry}
    settings["online_store"] = {"type": "sqlite", "path": str(folder / "online.db")}
    folder.mkdir(exist_ok=True)
    path = folder / "overlay.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


FEAST = shutil.which("feast", path=str(Path(sys.executable).parent))


@pytest.mark.skipif(FEAST is None, reason="the command `feast` is not in this environment")
def test_the_pipeline_writes_definitions_and_serving_reads_them_over_tls(
    small_scenario: Scenario, ingested: Path, certificates: Path, tmp_path: Path
):
    trusted = {"cert": str(certificates / "ca.crt")}
    with running(tmp_path, certificates) as port:
        settings = remote(small_scenario, tmp_path / "pipeline", port, trusted)
        build_store(small_scenario, ingested, tmp_path / "pipeline", settings)
    # After a restart the definitions are found on the claim.
    with running(tmp_path, certificates) as port:
        serving = tmp_path / "serving"
        serving.mkdir()
        remote(small_scenario, serving, port, trusted).rename(serving / "feature_store.yaml")
        service = open_online_store(serving).get_feature_service(small_scenario.feature_service)
        assert service.feature_view_projections
        plain = tmp_path / "plain"
        plain.mkdir()
        remote(small_scenario, plain, port, {"cert": ""}).rename(plain / "feature_store.yaml")
        with pytest.raises(Exception, match=r"UNAVAILABLE|unavailable"):
            open_online_store(plain).get_feature_service(small_scenario.feature_service)
