"""A server that this program starts, and that ends with it: environment, start, readiness, log and stop."""

import atexit
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from polytask.errors import ServingError

LOG_LINES = 12
# How long the system may take to start a process.
START_SECONDS = 5.0
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
    started: Future[subprocess.Popen[bytes]] = Future()
    _request_start(started, command, log, environment)
    return started.result()


def _request_start(
    started: "Future[subprocess.Popen[bytes]]", command: Sequence[str], log: IO[bytes], environment: Mapping[str, str]
) -> None:
    becomes = str(Path(__file__).with_name("end_with_parent.py"))
    words = [sys.executable, "-I", "-S", becomes, str(os.getpid()), *command]
    _STARTER.start(started, words, log, dict(environment))


class _Starter:
    """Starts processes from one thread that lasts as long as the program.

    The kernel counts a server as left alone when the thread that started it ends, not the program.
    """

    def __init__(self) -> None:
        self._wanted: queue.SimpleQueue[tuple[Future[subprocess.Popen[bytes]], list[str], IO[bytes], dict[str, str]]]
        self._wanted = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(
        self,
        started: "Future[subprocess.Popen[bytes]]",
        command: list[str],
        log: IO[bytes],
        environment: dict[str, str],
    ) -> None:
        """`started` gets the process, or the OSError where it cannot be started."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="servers", daemon=True)
                self._thread.start()
        self._wanted.put((started, command, log, environment))

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


class ServerProcess:
    """A server in a process group of its own, whose output goes to `log`. A `with` block starts and stops it.

    A subclass defines the command, and when the server is ready. `name` is how messages name it, `stop_seconds` how
    long it may take to end after SIGTERM, `poll_seconds` the time between two requests for its readiness, and
    `error_line` matches the lines of its log that are errors.
    """

    name: str = "the server"
    stop_seconds: float = 10.0
    poll_seconds: float = 0.1
    error_line = re.compile("error: ")

    def __init__(self, log: Path) -> None:
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._started: Future[subprocess.Popen[bytes]] | None = None

    def command(self) -> list[str]:
        """The program and its arguments, read at each start."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """The variables of the server."""
        return server_environment()

    def not_ready(self) -> str | None:
        """None when the server is ready, otherwise the reason; "" where only its log has one."""
        raise NotImplementedError

    @property
    def process_id(self) -> int | None:
        """The server's process id, which is also the id of its process group; None when it does not run."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def runs(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._process is not None and not _ended(self._process)

    def check(self) -> None:
        """Return when the server runs.

        Raises:
            ServingError: The server has ended; the message has the end of its log.
        """
        if not self.runs():
            raise ServingError(f"{self.name} ended: {self.last_lines()}")

    def start(self) -> None:
        """Start the server without a wait for its readiness. Raises OSError where the log cannot be written."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._started = Future()
            _request_start(self._started, self.command(), log, self.environment())
            self._process = self._started.result()
            self._started = None
        atexit.register(self.stop)

    def wait_until_ready(self, seconds: float = 60.0, check: Callable[[], None] | None = None) -> None:
        """Return when the server is ready.

        Args:
            seconds: The deadline.
            check: Raises where it is useless to wait on; by default where this server has ended.

        Raises:
            ServingError: The server is not ready at the deadline; the message has the reason and the log.
        """
        end = time.monotonic() + seconds
        while True:
            (check or self.check)()
            reason = self.not_ready()
            if reason is None:
                return
            if time.monotonic() > end:
                what = f"{reason} (log: {self.log})" if reason else self.last_lines()
                raise ServingError(f"{self.name} was not ready within {seconds:g} s: {what}")
            time.sleep(self.poll_seconds)

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after `stop_seconds` to its whole process group. Harmless when nothing runs."""
        if self._started is not None:  # a signal has interrupted the start
            with suppress(OSError, TimeoutError, ValueError):  # not started: its log is closed already
                self._process = self._started.result(START_SECONDS)
            self._started = None
        process = self._process
        if process is None:
            return
        try:
            if not _ended(process):
                os.kill(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + self.stop_seconds
            while not _ended(process) and time.monotonic() < deadline:
                time.sleep(0.02)
        finally:
            # Before the server is reaped, so that its id cannot have gone to another process.
            with suppress(ProcessLookupError):  # another thread has stopped it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._process = None
            atexit.unregister(self.stop)

    def last_lines(self) -> str:
        """The last errors in the log, or its last lines where it has none, and the path of the log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.is_file() else []
        return "\n".join([*(self.errors(lines) or lines)[-LOG_LINES:], f"(log: {self.log})"])

    def errors(self, lines: Sequence[str]) -> list[str]:
        """Those of the log's lines that are errors."""
        return [line for line in lines if self.error_line.match(line)]


def _ended(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a server has ended. It stays unreaped, so that its id and its group's cannot be given away."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # another thread has reaped it
        return True
