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

# Libraries below us must not phone home or look for models on a hub.
ON_ITS_OWN = {"FEAST_USAGE": "False", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def stay_on_this_machine() -> None:
    """For commands that need nothing but what is installed here."""
    os.environ.update(ON_ITS_OWN)


def prepare_environment() -> None:
    """Set what is not set yet; what the user has set stays."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
