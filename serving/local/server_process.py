"""A server that this program starts: its environment, and its end."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import IO

# Feast sets these in whatever process imports it; a server that inherits them would keep its metrics in the files of
# its parent, at several times the cost.
NOT_INHERITED = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")


def server_environment() -> dict[str, str]:
    """The variables of the program, with the code on the path, one thread per library, without what is only its own."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    paths = [str(Path(__file__).resolve().parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "FEAST_USAGE": "False",
        "OMP_NUM_THREADS": "1",
    }


def start_server(command: Sequence[str], log: IO[bytes], environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
    """Start a server that writes to `log`, and ends by SIGTERM when this program ends in whatever way.

    It has a session of its own: a Ctrl-C at the terminal reaches this program alone, which stops its servers in order.
    """
    becomes = str(Path(__file__).with_name("end_with_parent.py"))
    words = [sys.executable, "-I", "-S", becomes, str(os.getpid()), *command]
    return _STARTER.start(words, log, dict(environment))


class _Starter:
    """Starts processes from one thread that lasts as long as the program.

    The kernel counts a server as left alone when the thread that started it ends, not the program.
    """

    def __init__(self) -> None:
        self._wanted: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], list[str], IO[bytes], dict[str, str]]]
        self._wanted = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self, command: list[str], log: IO[bytes], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        """The started process. Raises OSError where it cannot be started."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="servers", daemon=True)
                self._thread.start()
        started: Future[subprocess.Popen[bytes]] = Future()
        self._wanted.put((started, command, log, environment))
        return started.result()

    def _work(self) -> None:
        while True:
            started, command, log, environment = self._wanted.get()
            try:
                process = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except BaseException as error:  # noqa: BLE001 - the caller's, in its own thread
                started.set_exception(error)
            else:
                started.set_result(process)


_STARTER = _Starter()


def stop_server(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    """SIGTERM, then SIGKILL when it has not ended after `seconds`."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
