"""Clients that send requests by the routes while one model replaces another: how many are refused, by strategy.

The pods of this control plane are ready at once, whatever their Triton serves; `tests/serving/fleet` measures
`rolling`, where that matters, with real servers.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.rollout.release import RolloutRelease
from serving.rollout.roll_out import roll_out
from tests.cluster.api import wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.overlays import apply, combined
from tests.cluster.rollouts import Live, deployer, quick_settings

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("restricted")]
LOGGER = logging.getLogger(__name__)
AFTER = 20
QUESTION = {"inputs": [{"name": "user_id", "datatype": "INT64", "shape": [1, 1], "data": [0]}]}


class Load:
    """Clients that send requests without a pause between `with` and its end."""

    def __init__(self, live: Live, address: str) -> None:
        self._live = live
        self._address = address
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered: list[bool] = []  # of each request, in their order

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def _run(self) -> None:
        chance = random.Random(1)
        with httpx.Client(base_url=self._address, timeout=10) as client:
            while not self._ended.is_set():
                weights = self._live.weights()
                (backend,) = chance.choices(list(weights), list(weights.values()))
                name = backend.removesuffix("-transformer")
                path = f"/services/{self._live.namespace}/{name}/v2/models/recommender/infer"
                response = client.post(path, json=QUESTION)
                self.answered.append(response.status_code == 200)


@pytest.mark.parametrize("strategy", ["canary", "shadow", "recreate"])
def test_requests_while_a_model_replaces_another(
    strategy: Any,
    plane: ControlPlane,
    clean: Callable[[str], str],
    address: str,
    release: Callable[..., RolloutRelease],
    tmp_path: Path,
):
    live = Live(plane, clean(f"load-{strategy}"))
    apply(plane, combined(tmp_path, ["cpu", "hpa", "replicated", "canary"], live.namespace))
    settings = quick_settings(address, step_seconds=2.0)
    cluster = deployer(plane, live.namespace)
    try:
        roll_out(cluster, release(1), settings)
        with Load(live, address) as load:
            roll_out(cluster, release(2), replace(settings, strategy=strategy))
            during = len(load.answered)
            wait_for("requests after the rollout", lambda: len(load.answered) >= during + AFTER)
    finally:
        cluster.close()
    sent, failed = len(load.answered), load.answered.count(False)
    LOGGER.info("%s: %d requests, %d failed", strategy, sent, failed)
    assert during > 20
    if strategy == "recreate":  # nobody is served between the old pods and the new ones, and then everybody
        assert all(load.answered[-AFTER:])
    else:
        assert failed == 0
