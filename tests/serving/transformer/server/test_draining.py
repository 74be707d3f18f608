"""How the transformer's process ends without a signal; KServe cannot be imported with tritonclient."""

import socket
import subprocess
import sys
from pathlib import Path

from serving.local.server_process import server_environment


def test_a_server_that_is_no_longer_probed_ends_with_the_reason():
    script = Path(__file__).with_name("server_that_loses_its_probes.py")
    with socket.socket() as http, socket.socket() as grpc:
        for free in (http, grpc):
            free.bind(("127.0.0.1", 0))
        ports = [str(free.getsockname()[1]) for free in (http, grpc)]
    done = subprocess.run(
        [sys.executable, str(script), *ports],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=server_environment(),
    )
    logged = done.stdout + done.stderr
    assert "Starting gRPC server on 127.0.0.1" in logged  # it served, and did not fail to start
    assert "no longer probed" in logged
    assert logged.rstrip().endswith("OSError: no more sockets")
    # Kubernetes restarts a failed process; after a regular stop it would not.
    assert done.returncode != 0
