"""Where CI requires the cluster, a test that is skipped fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("required", "status"), [("required", 1), ("", 0)])
def test_a_skip_is_a_failure_where_the_cluster_is_required(required: str, status: int, tmp_path: Path):
    """Without the recordings their comparison is skipped."""
    environment = {**os.environ, "POLYTASK_CLUSTER": required, "POLYTASK_CRDS": str(tmp_path / "none")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cluster/test_kserve_rules.py"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == status, done.stdout[-2000:]
    assert ("was skipped where POLYTASK_CLUSTER=required" in done.stdout) == bool(required)
