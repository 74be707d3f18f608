"""One running stack for the tests over the wire: real Triton, real Feast, the transformer in a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from polytask.client import RecommenderClient
from serving.local.install import TritonInstallation
from serving.local.stack import LocalStack

DEADLINE_SECONDS = 1.0


@pytest.fixture(scope="session")
def small_bundle(ruled_bundle: Path) -> Path:
    """The bundle whose models score by rule, because these tests must know the expected predictions."""
    return ruled_bundle


@pytest.fixture(scope="session")
def small_stack(
    small_bundle: Path,
    small_store: Path,
    triton_installation: TritonInstallation,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[LocalStack]:
    """Triton and the transformer over the small bundle and store, with a deadline of one second a request."""
    with LocalStack(
        small_bundle,
        small_store,
        installation=triton_installation,
        logs=tmp_path_factory.mktemp("logs"),
        deadline_seconds=DEADLINE_SECONDS,
    ) as stack:
        yield stack


@pytest.fixture
def client(small_stack: LocalStack) -> Iterator[RecommenderClient]:
    # One attempt: a retry would hide how long one call takes.
    with RecommenderClient(small_stack.grpc_url, attempts=1) as client:
        yield client
