"""KServe's real manager in place of the stand-in: KSERVE_MANAGER names its program, KSERVE_CONFIG a folder.

The folder holds KServe's documents as they are installed: CustomResourceDefinitions, webhooks, runtimes, storage
containers, the ConfigMap `inferenceservice-config`. Workloads among them are left out, since the program runs here.
"""

import base64
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from tests.cluster.api import Object
from tests.cluster.control_plane import ControlPlane
from tests.cluster.documents import documents
from tests.cluster.processes import Program, free_ports

PROGRAM, CONFIG = "KSERVE_MANAGER", "KSERVE_CONFIG"
NAMESPACE = "kserve"
READY_SECONDS = 120.0
# The definitions are installed with all others; pods are not needed, and certificates are made here.
LEFT_OUT = {"CustomResourceDefinition", "Deployment", "DaemonSet", "Certificate", "Issuer", "Service"}
WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")


class KServeManager:
    """Runs from `start` to `stop`."""

    def __init__(self, plane: ControlPlane, program: Path, config: Path) -> None:
        self._plane = plane
        self._program = program
        self.config = config
        self._running: Program | None = None
        self._port, self._metrics, self._health = free_ports(3)
        self._authority = trustme.CA()

    @classmethod
    def from_environment(cls, plane: ControlPlane) -> "KServeManager | None":
        """The manager that the environment names, None where it names none. One variable without the other fails."""
        program, config = os.environ.get(PROGRAM), os.environ.get(CONFIG)
        if not program and not config:
            return None
        if not program or not config:
            pytest.fail(f"{PROGRAM} and {CONFIG}: only one of the two is set; expected both or neither")
        return cls(plane, Path(program), Path(config))

    def start(self) -> None:
        """Install the documents and run the program until it serves its webhooks."""
        folder = Path(tempfile.mkdtemp(prefix="kserve-", dir=self._plane.folder))
        certificates = folder / "k8s-webhook-server" / "serving-certs"  # where the program looks, below TMPDIR
        certificates.mkdir(parents=True)
        issued = self._authority.issue_cert("127.0.0.1")
        issued.cert_chain_pems[0].write_to_path(certificates / "tls.crt")
        issued.private_key_pem.write_to_path(certificates / "tls.key")
        api = self._plane.api
        api.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, NAMESPACE)
        found = [one for path in sorted(self.config.rglob("*.yaml")) for one in documents(path)]
        installed = [one for one in found if one["kind"] not in LEFT_OUT]
        runtimes = [one for one in installed if "Runtime" in one["kind"]]
        webhooks = [self._called_here(one) for one in installed if one["kind"] in WEBHOOKS]
        self._install([one for one in installed if one not in runtimes and one["kind"] not in WEBHOOKS])
        options = [
            f"--kubeconfig={self._plane.kubeconfig}",
            f"--webhook-port={self._port}",
            f"--metrics-addr=127.0.0.1:{self._metrics}",
            f"--health-probe-addr=127.0.0.1:{self._health}",
        ]
        environment = {"TMPDIR": str(folder), "POD_NAMESPACE": NAMESPACE}
        self._running = Program([self._program, *options], folder / "manager.log", environment)
        self._running.wait_until(self._serves, READY_SECONDS)
        self._install(webhooks)  # after the server is ready: until then the webhooks refuse every write
        self._install(runtimes)

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()

    def _install(self, found: list[Object]) -> None:
        words = ("apply", "--server-side", "--force-conflicts", f"--namespace={NAMESPACE}", "-f", "-")
        if found:
            self._plane.kubectl(*words, stdin=yaml.safe_dump_all(found))

    def _serves(self) -> bool:
        with socket.socket() as connection:
            connection.settimeout(1)
            return connection.connect_ex(("127.0.0.1", self._port)) == 0

    def _called_here(self, document: Object) -> Object:
        """The webhooks at this machine's address in place of a Service's."""
        bundle = base64.b64encode(self._authority.cert_pem.bytes()).decode()
        for webhook in document["webhooks"]:
            config: dict[str, Any] = webhook["clientConfig"]
            path = config.pop("service", {}).get("path", "")
            config |= {"url": f"https://127.0.0.1:{self._port}{path}", "caBundle": bundle}
        return document
