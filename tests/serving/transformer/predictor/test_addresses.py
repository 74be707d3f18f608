"""The addresses behind a host name: several, changing, and a name server that hangs or fails."""

import asyncio
import socket
import threading
import time

import pytest

from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.predictor import addresses
from serving.transformer.predictor.addresses import MAX_ADDRESSES, Addresses


def entry(address: str, port: int):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, socket.SOCK_STREAM, 6, "", (address, port)


class NameServer:
    """The result of the system's resolver."""

    def __init__(self, names: dict[str, list[str]]) -> None:
        self.names = names
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self, host, port, **options):
        assert self.answers.wait(10)
        if not self.names.get(host):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [entry(address, port) for address in self.names[host]]


@pytest.fixture
def names(monkeypatch) -> NameServer:
    server = NameServer({"triton": ["10.0.0.1", "10.0.0.2", "10.0.0.1"], "other": ["fd00::1"]})
    monkeypatch.setattr(addresses.socket, "getaddrinfo", server)
    return server


@pytest.mark.parametrize(
    ("hosts", "logged", "found"),
    [
        ("triton:9000", "triton:9000", ["10.0.0.1:9000", "10.0.0.2:9000"]),
        ("triton", "triton:80", ["10.0.0.1:80", "10.0.0.2:80"]),
        ("triton:1, other:2", "triton:1,other:2", ["10.0.0.1:1", "10.0.0.2:1", "[fd00::1]:2"]),
        ("gone:1,other", "gone:1,other:80", ["[fd00::1]:80"]),
    ],
)
def test_all_addresses_of_all_names(names: NameServer, hosts: str, logged: str, found: list[str]):
    ours = Addresses(hosts)
    assert (str(ours), asyncio.run(ours.find(Deadline(5)))) == (logged, found)


@pytest.mark.parametrize(
    ("host", "found"), [("[::1]:9", "[::1]:9"), ("::1", "[::1]:80"), ("127.0.0.1:9", "127.0.0.1:9")]
)
def test_an_address_is_its_own(host: str, found: str):
    assert asyncio.run(Addresses(host).find(Deadline(5))) == [found]


def test_a_name_that_never_had_an_address_is_named(names: NameServer):
    with pytest.raises(Unavailable, match=r"^predictor gone:1: no address: gone: Name or service not known$"):
        asyncio.run(Addresses("gone:1").find(Deadline(5)))


def test_while_the_name_server_hangs_or_fails_the_last_addresses_are_used(names: NameServer):
    async def run() -> None:
        ours = Addresses("other:1")
        before = await ours.find(Deadline(5))
        names.names["other"] = ["fd00::2"]
        names.answers.clear()
        start = time.monotonic()
        for _ in range(2):
            assert await ours.find(Deadline(5)) == before
        assert time.monotonic() - start < 2
        names.answers.set()
        assert await ours.find(Deadline(5)) == ["[fd00::2]:1"]
        names.names["other"] = []
        assert await ours.find(Deadline(5)) == ["[fd00::2]:1"]

    asyncio.run(run())


def test_a_name_server_that_hangs_takes_no_longer_than_the_deadline(names: NameServer):
    names.answers.clear()
    start = time.monotonic()
    try:
        with pytest.raises(Unavailable, match="no address"):
            asyncio.run(_find(Deadline(0.3)))
        assert time.monotonic() - start < 5
    finally:
        names.answers.set()


async def _find(deadline: Deadline) -> list[str]:
    return await Addresses("triton:1").find(deadline)


def test_of_very_many_addresses_each_process_uses_its_own(names: NameServer):
    names.names["triton"] = [f"10.0.{one}.1" for one in range(100)]
    first, second = Addresses("triton:1"), Addresses("triton:1")
    found = asyncio.run(first.find(Deadline(5)))
    assert len(set(found)) == MAX_ADDRESSES
    assert asyncio.run(first.find(Deadline(5))) == found
    assert set(asyncio.run(second.find(Deadline(5)))) != set(found)
