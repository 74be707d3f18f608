"""The addresses behind the predictor's host names, which change as its pods come and go."""

import asyncio
import secrets
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from serving.transformer.concurrency.deadline import Deadline, Unavailable

# Each address is probed once a second by every transformer.
MAX_ADDRESSES = 32
DEFAULT_PORT = 80
# How long a round of probes waits for a name server before it goes on with the addresses found last.
NAME_SERVER_SECONDS = 0.2


class Addresses:
    """Resolves host names in a thread, one lookup at a time. Belongs to one event loop.

    A headless Service resolves to the addresses of its ready pods. The system's resolver blocks and has no deadline:
    while a lookup hangs, the addresses of the last one are used.
    """

    def __init__(self, hosts: str) -> None:
        """Args: `hosts`, `name`, `name:port` or several separated by commas; port 80 where none is given."""
        self.hosts = [_split(host) for host in hosts.split(",") if host.strip()]
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="resolve")
        self._lookup: asyncio.Future[list[str]] | None = None
        self._found: list[str] = []
        self._error = ""
        # Where there are more addresses than are used, each process uses others.
        self._order = secrets.token_bytes(8)

    def __str__(self) -> str:
        """The host names with their ports, as errors have them."""
        return ",".join(f"{_bracketed(name)}:{port}" for name, port in self.hosts)

    @property
    def name(self) -> str:
        """The first host name, which TLS verifies and requests carry as their authority."""
        return self.hosts[0][0]

    async def find(self, deadline: Deadline) -> list[str]:
        """At most `MAX_ADDRESSES` of `address:port`. Raises Unavailable where no name was ever resolved."""
        loop = asyncio.get_running_loop()
        if self._lookup is None:
            self._lookup = loop.run_in_executor(self._threads, resolve, self.hosts)
        left = deadline.remaining(f"addresses of {self}")
        await asyncio.wait({self._lookup}, timeout=min(left, NAME_SERVER_SECONDS) if self._found else left)
        if self._lookup.done():
            lookup, self._lookup = self._lookup, None
            try:
                self._found = self._bounded(lookup.result())
            except OSError as error:  # the name server fails, or the Service has no ready pod
                self._error = f": {error}"
        if not self._found:
            raise Unavailable(f"predictor {self}: no address{self._error}")
        return self._found

    def close(self) -> None:
        """Resolve no more; a lookup that hangs is left to end by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _bounded(self, found: Sequence[str]) -> list[str]:
        if len(found) <= MAX_ADDRESSES:
            return list(found)
        return sorted(found, key=lambda address: hash((self._order, address)))[:MAX_ADDRESSES]


def resolve(hosts: Sequence[tuple[str, int]]) -> list[str]:
    """All `address:port` of the hosts. Blocks. Raises OSError where no host has an address."""
    found: dict[str, None] = {}
    errors = []
    for name, port in hosts:
        try:
            for *_, place in socket.getaddrinfo(name, port, type=socket.SOCK_STREAM):
                found[f"{_bracketed(str(place[0]))}:{int(place[1])}"] = None
        except OSError as error:
            errors.append(OSError(f"{name}: {error.strerror or error}"))
    if errors and not found:
        raise errors[0]
    return list(found)


def _split(host: str) -> tuple[str, int]:
    host = host.strip()
    name, _, port = host.rpartition(":")
    if name and port.isdigit() and not (":" in name and not name.startswith("[")):
        return name.strip("[]"), int(port)
    return host.strip("[]"), DEFAULT_PORT


def _bracketed(name: str) -> str:
    return f"[{name}]" if ":" in name else name
