"""Three Triton servers behind one name: each gets its share, and one that ends or hangs takes no request with it."""

import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from serving.local.triton import TritonServer
from tests.serving.fleet.fleet import Fleet, Load, Transformer, inferences, wait_for

REQUESTS = 3000
LOGGER = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def fleet(empty_fleet: Fleet, ruled_bundle: Path) -> Fleet:
    for _ in range(3):
        empty_fleet.triton(ruled_bundle)
    return empty_fleet


@pytest.fixture(scope="module")
def transformer(fleet: Fleet, ruled_bundle: Path) -> Transformer:
    transformer = fleet.transformer(bundle=ruled_bundle)
    transformer.wait_until_ready()
    return transformer


def shares(fleet: Fleet, before: list[int]) -> list[float]:
    """Each server's part of the inferences since `before`."""
    counts = [inferences(server) - earlier for server, earlier in zip(fleet.endpoints, before, strict=True)]
    return [count / sum(counts) for count in counts]


def test_each_gets_its_share(fleet: Fleet, transformer: Transformer):
    before = [inferences(server) for server in fleet.endpoints]
    with Load([transformer], limit=REQUESTS) as load:
        load.join()
    assert (load.sent, load.failed) == (REQUESTS, [])
    got = shares(fleet, before)
    LOGGER.info("shares of %d requests: %s", REQUESTS, ", ".join(f"{share:.1%}" for share in got))
    assert all(0.25 <= share <= 0.42 for share in got), got


def kill(server: TritonServer) -> None:
    """End it without a chance to drain."""
    assert server.process_id is not None
    os.killpg(server.process_id, signal.SIGKILL)


@pytest.mark.parametrize("end", [TritonServer.stop, kill], ids=["stopped", "killed"])
def test_one_that_ends_fails_no_request_and_is_used_again(
    end: Callable[[TritonServer], None], fleet: Fleet, transformer: Transformer
):
    server = fleet.endpoints[1]
    with Load([transformer]) as load:
        load.see(300)
        end(server)
        load.see(300)
        server.stop()
        server.start()
        wait_for(lambda: inferences(server) > 50, "the server that was started again gets no request")
        load.see(100)
    LOGGER.info("one of three ended by %s: %d requests, %d failed", end.__name__, load.sent, len(load.failed))
    assert load.failed == []


def test_one_that_hangs_fails_no_request_and_is_used_again(fleet: Fleet, transformer: Transformer):
    """As a node that is lost: its connections stay open, and nothing comes back."""
    hung = fleet.endpoints[2]
    assert hung.process_id is not None
    with Load([transformer]) as load:
        load.see(300)
        os.killpg(hung.process_id, signal.SIGSTOP)
        try:
            load.see(600)
            # Three seconds later it is out of use, so that calls are as fast as before.
            time.sleep(3)
            load.slowest, slowest = 0.0, load.slowest
            load.see(300)
            assert load.slowest < 1.0
        finally:
            os.killpg(hung.process_id, signal.SIGCONT)
        before = inferences(hung)
        wait_for(lambda: inferences(hung) > before + 50, "the server that goes on gets no request")
    LOGGER.info("one of three hung: %d requests, %d failed, slowest %.2f s", load.sent, len(load.failed), slowest)
    assert load.failed == []
