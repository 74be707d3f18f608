"""Settings that the libraries below us read once, when they are loaded: call this before torch is imported."""

import os

SETTINGS = {
    # Threads that spin while they wait made small training steps 10 to 60 times slower on shared cores.
    "GOMP_SPINCOUNT": "0",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Deterministic matrix products on a GPU need a fixed workspace.
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "TOKENIZERS_PARALLELISM": "false",
}


def prepare_environment() -> None:
    """Set what is not set yet; what the user has set stays."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
