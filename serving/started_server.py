"""A server that this program starts: its environment, and its end."""

import os
import subprocess
from pathlib import Path

# Feast sets these in whatever process imports it; a server that inherits them would keep its metrics in the files of
# its parent, at several times the cost.
NOT_INHERITED = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")


def server_environment() -> dict[str, str]:
    """The variables of the program, with the code on the path, one thread per library, without what is only its own."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    paths = [str(Path(__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "FEAST_USAGE": "False",
        "OMP_NUM_THREADS": "1",
    }


def stop_server(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """SIGTERM, then SIGKILL when it has not ended after `seconds`."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
