"""One fleet for each module, without servers yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.local.install import TritonInstallation
from tests.serving.fleet.fleet import Fleet, fleet_of


@pytest.fixture(scope="module")
def empty_fleet(
    small_store: Path, triton_installation: TritonInstallation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    """A fleet to which a module adds its Triton servers and transformers; all of them end with it."""
    folder = tmp_path_factory.mktemp("fleet")
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        fleet_of(folder, small_store, triton_installation, monkeypatch) as fleet,
    ):
        yield fleet
