"""Three Triton servers behind one name: each gets its share, and one that ends or hangs takes no request with it."""

import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.triton.install import TritonInstallation
from tests.serving.fleet.fleet import Fleet, Load, Transformer, fleet_of, inferences, wait_for

REQUESTS = 3000
LOGGER = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def fleet(
    ruled_bundle: Path, small_store: Path, triton_installation: TritonInstallation, tmp_path_factory
) -> Iterator[Fleet]:
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        fleet_of(tmp_path_factory.mktemp("fleet"), small_store, triton_installation, monkeypatch) as fleet,
    ):
        for _ in range(3):
            fleet.triton(ruled_bundle)
        yield fleet


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


def test_one_that_is_stopped_fails_no_request_and_is_used_again(fleet: Fleet, transformer: Transformer):
    stopped = fleet.endpoints[1]
    with Load([transformer]) as load:
        load.see(300)
        stopped.stop()
        load.see(300)
        stopped.start()
        wait_for(lambda: inferences(stopped) > 50, "the server that came back gets no request")
        load.see(100)
    LOGGER.info("one of three stopped and started again: %d requests, %d failed", load.sent, len(load.failed))
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


def test_one_that_is_killed_fails_no_request(fleet: Fleet, transformer: Transformer):
    killed = fleet.endpoints[0]
    assert killed.process_id is not None
    with Load([transformer]) as load:
        load.see(300)
        os.killpg(killed.process_id, signal.SIGKILL)
        load.see(300)
        killed.stop()
        killed.start()
        wait_for(lambda: inferences(killed) > 50, "the server that came back gets no request")
    LOGGER.info("one of three killed: %d requests, %d failed", load.sent, len(load.failed))
    assert load.failed == []
