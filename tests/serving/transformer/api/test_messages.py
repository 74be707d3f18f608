"""Runs `messages_beside_kserve.py`: KServe cannot be imported with tritonclient, which other tests import."""

import subprocess
import sys
from pathlib import Path


def test_messages_are_those_that_kserve_reads_and_writes():
    script = Path(__file__).with_name("messages_beside_kserve.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "6 passed" in done.stdout
