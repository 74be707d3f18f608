"""KServe's own definitions of its kinds, for the tests of what is applied to a cluster."""

import os
from pathlib import Path

import pytest

from serving.manifests.crd_schemas import Schemas, load_crds

CRDS = Path(os.environ.get("POLYTASK_CRDS", Path(__file__).parents[3] / "shared" / "crds"))


@pytest.fixture(scope="session")
def schemas() -> Schemas:
    """The schemas in KServe's CustomResourceDefinitions.

    They are KServe's, not this project's: no package carries them, and they are not copied into the repository.
    If they are not available, the walk over the SDK's types and the own checks still run; only this check is skipped.
    """
    if not CRDS.is_dir():
        pytest.skip(f"{CRDS} not found; set POLYTASK_CRDS to a folder of KServe's CustomResourceDefinitions")
    return load_crds(CRDS)
