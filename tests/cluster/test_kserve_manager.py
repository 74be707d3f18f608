"""The switch to KServe's real manager, with a small program in its place."""

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api import wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kserve_manager import CONFIG, PROGRAM, KServeManager

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[2]
HOOK = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "switch"},
    "webhooks": [
        {
            "name": "switch.tests.polytask.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {"service": {"name": "webhook", "namespace": "kserve", "path": "/mutate"}},
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "switch"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["secrets"]}],
            "sideEffects": "None",
        }
    ],
}
SETTINGS = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "kserve"}}
WORKLOAD = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "manager", "namespace": "kserve"}}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([HOOK, SETTINGS, WORKLOAD]), encoding="utf-8")
    return tmp_path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "manager"
    path.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m tests.cluster.fake_manager "$@"\n', encoding="utf-8"
    )
    path.chmod(0o755)
    return path


@pytest.fixture
def manager(
    control_plane: ControlPlane, program: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[KServeManager]:
    monkeypatch.setenv(PROGRAM, str(program))
    monkeypatch.setenv(CONFIG, str(config))
    found = KServeManager.from_environment(control_plane)
    assert found is not None
    yield found
    found.stop()
    control_plane.api.delete(HOOK)


def test_the_manager_is_called_by_the_api_server(
    manager: KServeManager, control_plane: ControlPlane, clean: Callable[[str], str]
):
    manager.start()
    api = control_plane.api
    assert api.get("v1", "ConfigMap", "settings", "kserve") is not None
    assert api.get("apps/v1", "Deployment", "manager", "kserve") is None  # the program runs here
    where = clean("switch")
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": where}}, "tests")
    numbers = itertools.count()

    def labels() -> Any:
        """Of a new secret. The API server takes a moment to know a new webhook."""
        name = f"secret-{next(numbers)}"
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": where}}
        return api.apply(secret, "tests")["metadata"].get("labels")

    assert wait_for("the webhook labels a secret", labels, 20) == {"seen-by": "mutate"}


def test_without_the_variables_there_is_no_manager(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch):
    for name in (PROGRAM, CONFIG):
        monkeypatch.delenv(name, raising=False)
    assert KServeManager.from_environment(control_plane) is None
    monkeypatch.setenv(PROGRAM, os.devnull)
    with pytest.raises(pytest.fail.Exception, match="only one of the two is set"):
        KServeManager.from_environment(control_plane)
