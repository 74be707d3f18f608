"""Pods that admission refuses: by PodSecurity for ever, by a webhook that does not respond for the moment."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from serving.kubernetes.client import Cluster
from serving.rollout.errors import RolloutError
from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from serving.rollout.service.readiness import wait_ready
from serving.rollout.settings import Settings
from tests.serving.rollout.conftest import State

Make = Callable[..., RolloutRelease]

REFUSED = (
    'pods "recommender-predictor-7d9-x" is forbidden: violates PodSecurity "restricted:latest": '
    'allowPrivilegeEscalation != false (container "{}" must set securityContext.allowPrivilegeEscalation=false)'
)
UNAVAILABLE = (
    'Internal error occurred: failed calling webhook "inferenceservice.kserve-webhook-server.pod-mutator": connect: '
    "connection refused"
)


@pytest.mark.parametrize(
    ("container", "remedy"),
    [("storage-initializer", "apply the component `storage-container`"), ("kserve-container", "security context")],
)
def test_a_pod_that_pod_security_refuses_is_reported_at_once(
    installed: Cluster, state: State, settings: Settings, release: Make, container: str, remedy: str
):
    state.pod_refusal = REFUSED.format(container)
    started = time.monotonic()
    with pytest.raises(RolloutError, match="violates PodSecurity") as caught:
        roll_out(installed, release(1), replace(settings, ready_timeout=40))
    assert remedy in str(caught.value)
    assert time.monotonic() - started < 30


def test_a_webhook_that_does_not_respond_is_waited_for(
    installed: Cluster, state: State, settings: Settings, release: Make
):
    state.pod_refusal = UNAVAILABLE

    def respond() -> None:
        state.pod_refusal = ""

    timer = threading.Timer(10 * settings.failing_seconds, respond)
    timer.start()
    try:
        assert roll_out(installed, release(1), replace(settings, ready_timeout=30)).action == "deployed"
    finally:
        timer.cancel()


def test_a_refused_pod_of_a_part_that_is_still_available_counts(installed: Cluster, state: State, settings: Settings):
    """In a rolling update the old pods keep a part ready while every new one is refused."""
    (path,) = (path for path in state.objects if "inferenceservices" in path)
    state.stale_reads = 10**6
    state.made["recommender"] = state.running["recommender"] = state.objects[path]["spec"]
    info = {"type": "TransformerReady", "status": "False", "severity": "Info", "message": REFUSED.format("a")}
    conditions = [{"type": "Ready", "status": "True"}, info]
    state.objects[path]["status"] = {"observedGeneration": 1, "conditions": conditions}
    with pytest.raises(RolloutError, match=r"TransformerReady: .*violates PodSecurity"):
        wait_ready(
            installed,
            "recommender",
            {"spec": {"transformer": {"annotations": {}}}},
            seconds=30,
            poll_seconds=0.005,
            failing_seconds=0.03,
        )
