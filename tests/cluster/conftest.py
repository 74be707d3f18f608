"""One control plane for all tests, with KServe's manager or its stand-in, and namespaces with an overlay in them."""

import os
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

import pytest

from polytask.scenario import Scenario
from serving.rollout.release import RolloutRelease
from tests.cluster import custom_resources, storage
from tests.cluster.api import Api, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.data_plane import DataPlane, Handler
from tests.cluster.kserve_manager import KServeManager
from tests.cluster.kserve_stand_in import KServeStandIn
from tests.cluster.overlays import LEFT_OUT
from tests.cluster.programs import find_go
from tests.cluster.rollouts import releases
from tests.json_server import json_server

# CI sets it where Go is installed: what is skipped there was not tested.
REQUIRED = os.environ.get("POLYTASK_CLUSTER") == "required"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if REQUIRED and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped where POLYTASK_CLUSTER=required: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in sorted(LEFT_OUT):
        terminalreporter.write_line(f"not applied to the cluster: {line}")


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A control plane with nodes and nothing else."""
    if find_go() is None:
        pytest.skip("Go is not installed; `make test-cluster` builds the control plane from Go modules")
    plane = ControlPlane()
    plane.start()
    yield plane
    plane.stop()


@pytest.fixture(scope="session")
def plane(control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """A control plane with the CustomResourceDefinitions and with KServe as it is after its default installation."""
    manager = KServeManager.from_environment(control_plane)
    folder = custom_resources.kserve_folder() if manager is None else manager.config
    if not folder.is_dir():
        pytest.skip(f"{folder} not found; set POLYTASK_CRDS to a folder of KServe's CustomResourceDefinitions")
    custom_resources.install(control_plane.api, folder)
    kserve = manager or KServeStandIn(control_plane)
    kserve.start()
    yield control_plane
    kserve.stop()


@pytest.fixture
def api(plane: ControlPlane) -> Api:
    """An administrator's."""
    return plane.api


@pytest.fixture
def clean(control_plane: ControlPlane) -> Iterator[Callable[[str], str]]:
    """Takes the names of namespaces and deletes them when the test ends, without waiting for what was in them."""
    names: list[str] = []

    def remember(name: str) -> str:
        gone = partial(control_plane.api.get, "v1", "Namespace", name)
        wait_for(f"the earlier namespace {name} is deleted", lambda: gone() is None, 120)
        names.append(name)
        return name

    yield remember
    for name in names:
        control_plane.kubectl("delete", "namespace", name, "--ignore-not-found", "--wait=false")


@pytest.fixture
def restricted(plane: ControlPlane) -> None:
    """KServe's storage container as the manifests restrict it."""
    storage.restrict(plane)


@pytest.fixture
def data_plane(plane: ControlPlane, small_scenario: Scenario) -> DataPlane:
    """A data plane that responds for all InferenceServices of the cluster."""
    return DataPlane(plane.api, [task.name for task in small_scenario.tasks])


@pytest.fixture
def address(data_plane: DataPlane) -> Iterator[str]:
    """Of the data plane."""
    with json_server(Handler, data_plane) as url:
        yield url


@pytest.fixture
def release(small_scenario: Scenario) -> Callable[..., RolloutRelease]:
    """Makes the release of a model version."""
    return releases(small_scenario)
