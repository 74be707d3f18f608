"""Where a model comes from: the commit of the code, the checksum of the data, the model before it."""

import os
import re
import subprocess
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from polytask.scenario.schema import Scenario
from polytask.storage.atomic import sha256_file, sha256_folder

# The image sets it: an image has no git.
REVISION = "POLYTASK_REVISION"
ROOT = Path(__file__).resolve().parents[2]


_CHECKSUM = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}")


def shown(lineage: Mapping[str, str]) -> list[str]:
    """A lineage as lines for people: the parent model first, and shortened checksums and commits."""
    first = ("parent_model", "data_sha256", "git_commit")
    names = [name for name in first if name in lineage] + sorted(name for name in lineage if name not in first)
    return [" ".join((name, _CHECKSUM.sub(r"\1", lineage[name]))) for name in names]


def git_commit() -> str:
    """The commit that this code is of, with `-dirty` behind it where files differ; `unknown` outside of a checkout."""
    if given := os.environ.get(REVISION):
        return given
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def code_sha256() -> str:
    """Hex SHA-256 of this library's code: what a training does may change with any of it."""
    package = Path(__file__).resolve().parents[1]
    code = [f"{path.relative_to(package)} {sha256_file(path)}" for path in sorted(package.rglob("*.py"))]
    return sha256("\n".join(code).encode()).hexdigest()


def data_checksum(path: Path) -> str:
    """Hex SHA-256 of a file, or of all files of a folder with their names."""
    return sha256_folder(path) if path.is_dir() else sha256_file(path)


def lineage_of(scenario: Scenario, data: Path, parent: int | None = None) -> dict[str, str]:
    """What every data set and model is labelled with: data, feature service, encoder, code, the model before it."""
    return {
        "scenario": scenario.name,
        "data_sha256": data_checksum(data),
        "feature_service": scenario.feature_service,
        "encoder": scenario.encoder.model,
        "git_commit": git_commit(),
        "parent_model": "none" if parent is None else str(parent),
    }
