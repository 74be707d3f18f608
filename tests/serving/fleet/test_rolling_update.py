"""Two Triton servers and two transformers go from one model to another under load, pod by pod, and fail no request.

The deploy step's two phases, in the order in which two Deployments with `maxSurge: 1` and `maxUnavailable: 0` replace
their pods: first the transformers get both bundles, then Triton's pods and the transformers become those of the new
bundle at the same time, in either of the two extreme orders. The second order is a rollout that goes back halfway.
"""

import logging
from pathlib import Path

import pytest

from polytask.contract.contract import load_contract
from polytask.data.tables import Tables
from polytask.scenario import Scenario
from tests.serving.bundle import write_bundle
from tests.serving.fleet.fleet import READY_SECONDS, Fleet, Load, Transformer, wait_for

OLD, NEW = 201, 202
LOGGER = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def bundles(small_scenario: Scenario, tables: Tables, tmp_path_factory) -> dict[int, Path]:
    """Two versions with other tasks, and so with other tensors."""
    folder = tmp_path_factory.mktemp("versions")
    fewer = small_scenario.model_copy(update={"tasks": small_scenario.tasks[:2]})
    for version, scenario in ((OLD, small_scenario), (NEW, fewer)):
        write_bundle(folder / str(version), scenario, tables, version)
    return {version: folder / str(version) for version in (OLD, NEW)}


class Rollout:
    """The servers of a rolling update."""

    def __init__(self, fleet: Fleet, bundles: dict[int, Path]) -> None:
        self.fleet = fleet
        self.bundles = bundles
        self.transformers = [self.transformer(OLD), self.transformer(OLD)]

    def transformer(self, *versions: int) -> Transformer:
        folders = [self.bundles[version] for version in versions]
        return self.fleet.transformer(
            bundle=",".join(map(str, folders)),
            contract_sha256=",".join(load_contract(folder).checksum for folder in folders),
            deadline_seconds=5,
        )

    def load(self) -> Load:
        return Load(self.transformers, callers=2, pause=0.02, timeout=8)

    def replace_triton(self, load: Load, version: int) -> None:
        old = self.fleet.endpoints[0]
        self.fleet.triton(self.bundles[version])
        self.fleet.end(old)
        load.see(50)


@pytest.fixture(scope="module")
def rollout(empty_fleet: Fleet, bundles: dict[int, Path]) -> Rollout:
    rollout = Rollout(empty_fleet, bundles)
    for _ in range(2):
        empty_fleet.triton(bundles[OLD])
    for transformer in rollout.transformers:
        transformer.wait_until_ready()
    return rollout


def test_triton_first(rollout: Rollout):
    """All Triton servers are replaced before any transformer that has both bundles."""
    with rollout.load() as load:
        load.see(100, str(OLD))
        load.replace_all(rollout.transformers, [rollout.transformer(NEW, OLD), rollout.transformer(NEW, OLD)])
        assert set(load.answers) == {str(OLD)}
        for _ in range(2):
            rollout.replace_triton(load, NEW)
        load.see(100, str(NEW))
    LOGGER.info("Triton first: %d requests, %d failed, %s", load.sent, len(load.failed), dict(load.answers))
    assert load.failed == []


def test_transformers_first(rollout: Rollout):
    """Back to the old model: the transformers of it alone serve as soon as one Triton server does."""
    with rollout.load() as load:
        load.see(100, str(NEW))
        alone = [rollout.transformer(OLD), rollout.transformer(OLD)]
        wait_for(lambda: alone[0].ready()[0] == 503, "it does not respond", READY_SECONDS)
        load.see(100, str(NEW))
        status, logged = alone[0].ready()
        assert (status, f"serves version {NEW}, the contract requires {OLD}" in logged) == (503, True)
        rollout.replace_triton(load, OLD)
        load.replace_all(rollout.transformers, alone)
        rollout.replace_triton(load, OLD)
        load.see(100, str(OLD))
    LOGGER.info("transformers first: %d requests, %d failed, %s", load.sent, len(load.failed), dict(load.answers))
    assert load.failed == []
