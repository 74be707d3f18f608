"""SIGTERM and SIGINT in the middle of something."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace

import pytest

from serving.kubernetes.client import Cluster
from serving.rollout.errors import RolloutStopped
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.service.stopping import StopRequested, stop_requests, undisturbed
from serving.rollout.settings import Settings
from serving.rollout.strategies.canary_analysis import CanaryEndpoint


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_block_and_a_second_one_does_not_disturb(number: signal.Signals):
    before = signal.getsignal(number)
    done = []
    with pytest.raises(StopRequested, match=number.name), stop_requests():
        try:
            os.kill(os.getpid(), number)
            done.append("went on")
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("put right")
    assert done == ["put right"]
    assert signal.getsignal(number) == before


def test_calls_that_belong_together_are_finished_first():
    done = []
    with pytest.raises(StopRequested), stop_requests():
        with undisturbed():
            with undisturbed():
                os.kill(os.getpid(), signal.SIGTERM)
                done.append("first")
            done.append("second")
        done.append("went on")
    assert done == ["first", "second"]


def test_a_signal_of_an_earlier_rollout_is_forgotten():
    with pytest.raises(RuntimeError), stop_requests(), undisturbed():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError
    with stop_requests(), undisturbed():
        pass


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_rollout_that_a_signal_ends_has_the_exit_code_of_a_shell(
    number: signal.Signals, code: int, installed: Cluster, settings: Settings, release: Callable[..., RolloutRelease]
):
    class Signalling:
        def objections(self, candidate: CanaryEndpoint) -> list[str]:
            os.kill(os.getpid(), number)
            return []

    settings = replace(settings, strategy="canary", judges=(Signalling(),))
    roll_out(installed, release(1), settings)
    with pytest.raises(RolloutStopped, match=f"rollout of model 2 was stopped by {number.name}") as caught:
        roll_out(installed, release(2), settings)
    assert caught.value.exit_code == code
