"""Runs `named_versions.py`: KServe cannot be imported with tritonclient, which other tests import."""

import subprocess
import sys
from pathlib import Path


def test_a_request_that_names_a_version_is_answered_by_it():
    script = Path(__file__).with_name("named_versions.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "5 passed" in done.stdout
