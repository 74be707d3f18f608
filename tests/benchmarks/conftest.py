"""A workbench over the small bundle whose models score by rule, with loops that are as short as they can be."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.workbench import Workbench
from serving.local.install import TritonInstallation


@pytest.fixture(scope="session")
def bench(
    ruled_bundle: Path,
    small_store: Path,
    triton_installation: TritonInstallation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Workbench]:
    """Closed, with its servers, at the end of the session."""
    with Workbench(ruled_bundle, small_store, tmp_path_factory.mktemp("bench"), scale=0.01) as bench:
        yield bench
