"""What the other tests rely on: nodes, admission, tokens, volumes, and that no object is left over."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.api import Api, ApiError, Object, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.data_plane import is_ready
from tests.cluster.references import missing
from tests.cluster.storage import SECURITY

pytestmark = pytest.mark.cluster
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def namespace(api: Api, name: str, labels: dict[str, str] | None = None) -> str:
    metadata = {"name": name, "labels": labels or {}}
    api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, "tests")
    wait_for(f"default account in {name}", lambda: api.get("v1", "ServiceAccount", "default", name))
    return name


def pod(where: str, name: str, security: Object | None, claim: str = "") -> Object:
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
    container = {"name": "main", "image": "none", **({"securityContext": security} if security else {})}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": where},
        "spec": {"containers": [container], "volumes": volumes},
    }


def test_a_restricted_namespace_refuses_a_pod_and_admits_a_restricted_one(
    control_plane: ControlPlane, clean: Callable[[str], str]
):
    api = control_plane.api
    where = namespace(api, clean("plane-restricted"), RESTRICTED)
    with pytest.raises(ApiError, match=r'violates PodSecurity "restricted:latest": allowPrivilegeEscalation'):
        api.apply(pod(where, "refused", None), "tests")
    api.apply(pod(where, "admitted", SECURITY), "tests")
    found = wait_for("pod admitted is ready", lambda: _ready(api, where, "admitted"))
    assert found["spec"]["nodeName"] in ("node-a", "node-b", "node-c")


def test_a_claim_is_bound_and_its_pod_gets_ready(control_plane: ControlPlane, clean: Callable[[str], str]):
    api = control_plane.api
    where = namespace(api, clean("plane-volumes"))
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": where},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    api.apply(pod(where, "reader", SECURITY, claim="data"), "tests")
    time.sleep(1.0)
    assert _ready(api, where, "reader") is None  # nothing to mount yet
    api.apply(claim, "tests")
    wait_for("pod reader is ready", lambda: _ready(api, where, "reader"))


def test_a_token_has_the_rights_of_its_account_and_no_others(control_plane: ControlPlane, clean: Callable[[str], str]):
    api = control_plane.api
    where = namespace(api, clean("plane-tokens"))
    caller = Api(control_plane.url, control_plane.authority, token=control_plane.token("default", where))
    with pytest.raises(
        ApiError, match=r'User "system:serviceaccount:plane-tokens:default" cannot list resource "pods"'
    ):
        caller.items("v1", "Pod", where)
    caller.close()


def test_what_a_pod_refers_to_and_is_missing_is_named(control_plane: ControlPlane, clean: Callable[[str], str]):
    api = control_plane.api
    where = namespace(api, clean("plane-references"))
    reader = pod(where, "reader", SECURITY)
    reference = {"secretKeyRef": {"name": "redis", "key": "password"}}
    reader["spec"]["containers"][0]["env"] = [{"name": "PASSWORD", "valueFrom": reference}]
    reader["spec"]["volumes"] = [{"name": "settings", "configMap": {"name": "settings"}}]
    assert missing(api, reader) == ["reader: ConfigMap settings is missing", "reader: Secret redis is missing"]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "redis", "namespace": where}}
    api.apply(secret, "tests")
    assert missing(api, reader)[1:] == ["reader: Secret redis has no key password"]
    api.apply({**secret, "stringData": {"password": "secret"}}, "tests")
    assert missing(api, reader)[1:] == []


def test_every_program_ends_with_the_process_that_started_it(tmp_path: Path):
    """Also if that process is killed. Only etcd is tested: the same class starts all programs."""
    code = (
        "import sys, time; from pathlib import Path; from tests.cluster.processes import Program\n"
        f"print(Program([sys.executable, '-c', 'import time; time.sleep(600)'], Path({str(tmp_path / 'log')!r})).pid,"
        " flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert _runs(child)
        parent.kill()
    wait_for(f"process {child} ended", lambda: not _runs(child), 20)


def test_a_stopped_control_plane_leaves_nothing(tmp_path: Path):
    code = (
        "from tests.cluster.control_plane import ControlPlane\n"
        "plane = ControlPlane(); plane.start(); print(plane.folder, *plane.process_ids)\n"
        "raise SystemExit('an error of a test') if not plane.stop() else None"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert "an error of a test" in done.stderr, done.stderr[-3000:]
    folder, *ids = done.stdout.split()
    assert len(ids) == 5 and not any(_runs(int(one)) for one in ids)
    assert not Path(folder).exists()


def _ready(api: Api, where: str, name: str) -> Object | None:
    found = api.get("v1", "Pod", name, where)
    return found if found is not None and is_ready(found) else None


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text(encoding="utf-8")
