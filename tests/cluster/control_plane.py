"""A Kubernetes control plane on loopback: etcd, API server, controllers and scheduler as released, and kwok's nodes.

RBAC, ServiceAccount tokens and the admission plugins that are on by default, PodSecurity among them, work as in any
cluster. There are no kubelets and no images: kwok makes the pods of its nodes ready.
"""

import subprocess
import tempfile
from pathlib import Path

import httpx

from serving.manifests.render import find_kubectl
from tests.cluster.api import Api, ApiError, Object, wait_for
from tests.cluster.documents import documents
from tests.cluster.identities import Identities
from tests.cluster.kwok_stages import write_stages
from tests.cluster.processes import Program, free_ports
from tests.cluster.programs import programs
from tests.cluster.volumes import Provisioner

HERE = Path(__file__).resolve().parent
ETCD_SECONDS = 60.0
API_SERVER_SECONDS = 120.0
NODES_SECONDS = 120.0
KUBECTL_SECONDS = 120.0


class ControlPlane:
    """Runs from `start` to `stop`. `api` is an administrator's."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="polytask-cluster-", ignore_cleanup_errors=True)
        self.folder = Path(self._folder.name)
        self._running: list[Program | Provisioner] = []
        self._ports = dict(zip(("etcd", "peer", "api"), free_ports(3), strict=True))
        self.url = f"https://127.0.0.1:{self._ports['api']}"
        self._identities = Identities(self.folder, self.url)
        self.authority = self._identities.authority

    @property
    def kubeconfig(self) -> Path:
        """An administrator's."""
        return self.folder / "admin.kubeconfig"

    def start(self) -> None:
        """Start everything and wait until pods can be scheduled. Raises NotStarted and NotBuilt; then nothing runs."""
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self) -> None:
        paths = programs()
        self._identities.write()
        self._start_etcd(paths["etcd"])
        self._start_api_server(paths["kube-apiserver"])
        self.api = Api(self.url, self.authority, certificate=self.folder / "admin.pem")
        for name in ("kube-controller-manager", "kube-scheduler"):
            options = [f"--kubeconfig={self.folder / name}.kubeconfig", "--leader-elect=false", "--secure-port=0"]
            if name == "kube-controller-manager":
                options += [
                    "--use-service-account-credentials=true",
                    f"--service-account-private-key-file={self.folder / 'service-accounts.pem'}",
                    f"--root-ca-file={self.authority}",
                ]
            self._program([paths[name], *options])
        stages = write_stages(self.folder / "kwok.yaml")
        self._program(
            [
                paths["kwok"],
                f"--kubeconfig={self.folder / 'kwok.kubeconfig'}",
                "--manage-all-nodes=true",
                "--node-lease-duration-seconds=40",  # nodes without a lease are taken for lost
                f"--config={stages}",
            ]
        )
        for document in documents(HERE / "nodes.yaml"):
            self.api.call("POST", "/api/v1/nodes", document)
        for document in documents(HERE / "storage_class.yaml"):
            self.api.apply(document, "tests")
        provisioner = Provisioner(self.api)
        self._running.append(provisioner)
        provisioner.start()
        wait_for(lambda: f"nodes are ready; {self.logs()}", self._schedulable, NODES_SECONDS)

    def stop(self) -> None:
        """Stop everything, the last program first, and remove its files. Does nothing the second time."""
        while self._running:
            self._running.pop().stop()
        if hasattr(self, "api"):
            self.api.close()
        self._folder.cleanup()

    @property
    def process_ids(self) -> list[int]:
        """Of all programs that were started."""
        return [one.pid for one in self._running if isinstance(one, Program)]

    def logs(self) -> str:
        """The last lines of every program."""
        return "\n".join(f"{one.name}: {one.log_end(600)}" for one in self._running if isinstance(one, Program))

    def kubectl(self, *words: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the environment's kubectl as administrator."""
        command = [find_kubectl(), f"--kubeconfig={self.kubeconfig}", *words]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=KUBECTL_SECONDS, check=False
        )
        assert not check or done.returncode == 0, (
            f"kubectl {' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
        return done

    def token(self, service_account: str, namespace: str) -> str:
        """A token of a ServiceAccount, as a pod gets it."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        token: str = self.api.call("POST", path, {"spec": {"expirationSeconds": 3600}})["status"]["token"]
        return token

    def write_kubeconfig(self, path: Path, token: str) -> Path:
        """A kubeconfig of this cluster for the holder of a token."""
        return self._identities.write_kubeconfig(path, {"token": token})

    def _program(self, command: list[str | Path]) -> Program:
        program = Program(command, self.folder / f"{Path(command[0]).name}.log")
        self._running.append(program)
        return program

    def _start_etcd(self, path: Path) -> None:
        client, peer = (f"http://127.0.0.1:{self._ports[name]}" for name in ("etcd", "peer"))
        etcd = self._program(
            [
                path,
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
                "--unsafe-no-fsync",
            ]
        )
        etcd.wait_until(lambda: "ready to serve client requests" in etcd.log_end(20_000), ETCD_SECONDS)

    def _start_api_server(self, path: Path) -> None:
        server = self.folder / "server.pem"
        keys = self.folder / "service-accounts.pem"
        program = self._program(
            [
                path,
                f"--etcd-servers=http://127.0.0.1:{self._ports['etcd']}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self._ports['api']}",
                f"--tls-cert-file={server}",
                f"--tls-private-key-file={server}",
                f"--client-ca-file={self.authority}",
                f"--service-account-key-file={keys}",
                f"--service-account-signing-key-file={keys}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.96.0.0/16",
                "--authorization-mode=Node,RBAC",
                "--enable-admission-plugins=NodeRestriction",
                "--endpoint-reconciler-type=none",  # a loopback address is no endpoint
            ]
        )
        api = Api(self.url, self.authority, certificate=self.folder / "admin.pem")
        try:
            program.wait_until(lambda: _ready(api), API_SERVER_SECONDS)
        finally:
            api.close()

    def _schedulable(self) -> bool:
        nodes = self.api.items("v1", "Node")
        default = self.api.get("v1", "ServiceAccount", "default", "default")
        return default is not None and bool(nodes) and all(_is_schedulable(node) for node in nodes)


def _ready(api: Api) -> bool:
    try:
        # The API server creates the built-in RBAC roles after it has become ready.
        return api.get("rbac.authorization.k8s.io/v1", "ClusterRole", "system:kube-scheduler") is not None
    except (ApiError, httpx.HTTPError):
        return False


def _is_schedulable(node: Object) -> bool:
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in node["status"].get("conditions") or ())
    taints = [taint for taint in node["spec"].get("taints") or () if taint["key"].startswith("node.kubernetes.io/")]
    return ready and not taints
