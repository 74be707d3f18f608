"""A Triton server on this machine, for as long as a `with` block lasts."""

import os
import re
import secrets
import socket
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path

from polytask.errors import ServingError
from serving.local.install import TritonInstallation
from serving.local.known_response import KNOWN_RESPONSE, call, check_known_response, triton_version
from serving.local.server_process import ServerProcess

HOST = "127.0.0.1"
EXIT_SECONDS = 10
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - POSIX shared memory, where Triton's stubs put their regions


class TritonServer(ServerProcess):
    """Serve `repository` with the onnxruntime backend of `installation`.

    Entering waits until every model is ready and the known-answer test passes; leaving stops the server,
    its stub processes and their shared memory. A port that is None becomes a free one. Raises ServingError with the
    end of the server's log when it does not start.
    """

    name = "Triton"
    stop_seconds = EXIT_SECONDS + 2.0
    poll_seconds = 0.05
    error_line = re.compile(r"E\d{4} |error:|.*error while loading")

    def __init__(
        self,
        repository: Path,
        installation: TritonInstallation,
        log: Path,
        *,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        grpc_host: str = HOST,
        threads: int = 2,
        ready_seconds: float = 60.0,
    ) -> None:
        super().__init__(log)
        self.grpc_host = grpc_host
        self.repository = repository
        self.installation = installation
        hosts = (HOST, grpc_host, HOST)
        self.http_port, self.grpc_port, self.metrics_port = choose_ports(
            http_port, grpc_port, metrics_port, hosts=hosts
        )
        self.threads = threads
        self.ready_seconds = ready_seconds
        self.version = "not started"
        # Every region of this server, and of no other, starts with this: what a killed stub leaves can be removed.
        self._shared_memory_prefix = f"polytask_{os.getpid()}_{secrets.token_hex(4)}_"

    @property
    def grpc_address(self) -> str:
        """`host:port` of the gRPC endpoint."""
        return f"{self.grpc_host}:{self.grpc_port}"

    def __str__(self) -> str:
        """What runs, once it has started: versions of Triton and ONNX Runtime, and the kind of the backend."""
        return f"Triton {self.version}, {self.installation.backend}"

    def start(self) -> None:
        """Start, wait until ready, run the known-answer test."""
        if not self.repository.is_dir():
            raise ServingError(f"{self.repository}: is not a model repository")
        try:
            super().start()
            self.wait_until_ready(self.ready_seconds)
            self.version = triton_version(self.http_port)
            check_known_response(self.http_port, str(self))
            self._unload_known_response()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server and its stubs, which share its process group, and remove their shared memory."""
        try:
            super().stop()
        finally:
            for region in SHARED_MEMORY.glob(f"{self._shared_memory_prefix}*"):
                region.unlink(missing_ok=True)

    def command(self) -> list[str]:
        """Triton with both repositories, which loads every model."""
        options = {
            "--model-control-mode": "explicit",
            "--load-model": "*",
            "--strict-readiness": "true",
            "--exit-timeout-secs": str(EXIT_SECONDS),
            # Clients ping each second while a call is under way, to notice a node that is lost.
            "--grpc-http2-max-ping-strikes": "0",
            "--http-address": HOST,
            "--http-port": str(self.http_port),
            "--grpc-address": self.grpc_host,
            "--grpc-port": str(self.grpc_port),
            "--metrics-address": HOST,
            "--metrics-port": str(self.metrics_port),
            "--allow-gpu-metrics": "false",
            "--backend-directory": str(self.installation.backend.folder),
            "--backend-config": f"python,shm-region-prefix-name={self._shared_memory_prefix}",
        }
        command = [str(self.installation.server)]
        command += [f"--model-repository={folder.resolve()}" for folder in (self.repository, self.installation.guard)]
        command += ["--disable-auto-complete-config"]
        return command + [f"{option}={value}" for option, value in options.items()]

    def environment(self) -> dict[str, str]:
        """The variables of this program without its Python, with the backend's libraries."""
        foreign = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_PRELOAD"}
        kept = {key: value for key, value in os.environ.items() if key not in foreign}
        path = kept.get("PATH", os.defpath)
        if environment := self.installation.backend.environment:
            # The stub embeds Python and finds its packages through the `python3` that is first on PATH.
            path = os.pathsep.join([str(environment / "bin"), path])
        return {
            **kept,
            "PATH": path,
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, self.installation.libraries)),
            "PYTHONNOUSERSITE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            # Threads that spin while they wait take the cores from the other models' threads.
            "GOMP_SPINCOUNT": "0",
            "OMP_NUM_THREADS": str(self.threads),
        }

    def not_ready(self) -> str | None:
        """None when every model is ready."""
        try:
            status, _ = call(self.http_port, "GET", "/v2/health/ready", None, timeout=2.0)
        except ServingError:
            return ""
        return None if status == HTTPStatus.OK else ""

    def errors(self, lines: Sequence[str]) -> list[str]:
        """The errors of Triton and its backends, without those of a machine that has no GPU, and without tracebacks."""
        found = super().errors(lines)
        return [line.split(r"\n\nAt:")[0] for line in found if "CudaDriverHelper" not in line]

    def _unload_known_response(self) -> None:
        path = f"/v2/repository/models/{KNOWN_RESPONSE}/unload"
        status, content = call(self.http_port, "POST", path, {}, timeout=self.ready_seconds)
        if status != HTTPStatus.OK:
            raise ServingError(f"Triton cannot unload {KNOWN_RESPONSE}: {content.decode(errors='replace')}")
        # While the model unloads, the server as a whole reports that it is not ready.
        self.wait_until_ready(self.ready_seconds)


def choose_ports(*wanted: int | None, hosts: Sequence[str] | None = None) -> list[int]:
    """Free ports of this machine where None is wanted, each on its own of `hosts` where those are given.

    Raises ServingError where a wanted one is taken.
    """
    sockets = []
    try:
        for port, host in zip(wanted, hosts or [HOST] * len(wanted), strict=True):
            listener = socket.socket()
            sockets.append(listener)
            # As Triton does: a port whose last connections still linger may be taken.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host, port or 0))
            except OSError as error:
                raise ServingError(
                    f"port {port} on {host} cannot be taken: {error.strerror}; choose another"
                ) from error
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
