"""One deployer at a time: the Lease and its holder, its successor when a holder dies, and no writes without it."""

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from serving.kubernetes.client import INFERENCE_SERVICE, Cluster
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.service.lease import RECORD, Lease
from serving.rollout.settings import Settings
from tests.serving.rollout.conftest import SERVICE, State, address, set_address

Make = Callable[..., RolloutRelease]
SECONDS = 0.6


def stored(state: State) -> dict[str, Any]:
    (lease,) = state.leases.values()
    return lease


def die(stack: ExitStack, lease: Lease) -> None:
    """Hold a Lease and stop renewing it, as a process that was killed."""
    stack.enter_context(lease.held(1))
    lease._ended.set()


def test_a_second_deployer_waits_for_the_first(cluster: Cluster, state: State):
    first, second = Lease(cluster, "recommender", SECONDS), Lease(cluster, "recommender", SECONDS)
    order = []

    def wait() -> None:
        with second.held(10):
            order.append("second")

    with first.held(1):
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(2 * SECONDS)  # longer than the Lease lasts: it is renewed
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    assert stored(state)["spec"]["holderIdentity"] == ""
    assert stored(state)["spec"]["leaseTransitions"] == 2


def test_a_deployer_that_waited_long_enough_says_for_whom(cluster: Cluster, state: State):
    with Lease(cluster, "recommender", SECONDS).held(1):
        holder = stored(state)["spec"]["holderIdentity"]
        message = f"{holder} is still rolling out after 0.2 s"
        with pytest.raises(RolloutError, match=message), Lease(cluster, "recommender", SECONDS).held(0.2):
            pytest.fail("two holders")


def test_what_a_dead_holder_was_doing_is_found_by_the_next(cluster: Cluster):
    with ExitStack() as stack:
        dead, lease = Lease(cluster, "recommender", SECONDS), Lease(cluster, "recommender", SECONDS)
        die(stack, dead)
        dead.note({"strategy": "canary"})
        began = time.monotonic()
        with lease.held(10):
            assert time.monotonic() - began > SECONDS  # it might have been alive as long as that
            assert lease.record == {"strategy": "canary"}
            lease.note(None)
    following = Lease(cluster, "recommender", SECONDS)
    with following.held(1):
        assert following.record is None


def test_without_the_lease_nothing_is_written(cluster: Cluster, state: State):
    """A process that was stopped for a while, and another one that has taken over."""
    with ExitStack() as stack:
        slow, other = Lease(cluster, "recommender", SECONDS), Lease(cluster, "recommender", SECONDS)
        die(stack, slow)
        with other.held(10):
            writes = len(state.writes)
            cluster.may_write = slow.check
            for write in (
                lambda: cluster.apply(INFERENCE_SERVICE, SERVICE),
                lambda: cluster.delete(INFERENCE_SERVICE, "a"),
            ):
                with pytest.raises(RolloutError, match="the Lease recommender-rollout was lost"):
                    write()
            with pytest.raises(RolloutError, match="was lost"):
                slow.note({"strategy": "rolling"})
            assert len(state.writes) == writes
            assert stored(state)["spec"]["holderIdentity"] == other._identity


def test_a_lease_that_a_person_edits_stays_with_its_holder(cluster: Cluster, state: State):
    lease = Lease(cluster, "recommender", SECONDS)
    with lease.held(1):
        by_hand = stored(state)
        by_hand["metadata"] = {**by_hand["metadata"], "resourceVersion": "99", "labels": {"seen": "yes"}}
        lease.note({"strategy": "rolling"})
        assert stored(state)["metadata"]["labels"] == {"seen": "yes"}
        assert RECORD in stored(state)["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no JSON"), ('{"from": {"colour": "red"}}', "a record of another program")],
)
def test_a_record_that_cannot_be_read_is_told(
    text: str, message: str, installed: Cluster, state: State, settings: Settings, release: Make
):
    roll_out(installed, release(1), settings)
    stored(state)["metadata"]["annotations"] = {RECORD: text}
    with pytest.raises(RolloutError, match=message):
        roll_out(installed, release(2), settings)
    assert address(state) == "s3://models/small/1/repository"


def test_a_model_that_somebody_else_deployed_is_not_rolled_back(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    """A field manager that takes no Lease, such as a person with --force-conflicts."""
    roll_out(installed, release(1), settings)

    def take() -> None:
        while address(state) != "s3://models/mute/2/repository":
            time.sleep(0.005)
        set_address(installed, "s3://models/mute-by-hand", "kubectl")

    taking = threading.Thread(target=take)
    taking.start()
    with pytest.raises(
        RolloutError, match="another field manager has changed recommender since; it is not rolled back"
    ):
        roll_out(installed, release(2, "s3://models/mute"), replace(settings, response_timeout=1.0))
    taking.join(5)
    assert address(state) == "s3://models/mute-by-hand"
