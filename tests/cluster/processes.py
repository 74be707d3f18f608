"""Programs of the tests as child processes: free ports, readiness with a deadline, a clean stop of the whole group."""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
STOP_SECONDS = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


class NotStarted(Exception):
    """A program ended or did not become ready in time. The message holds the end of its log."""


def free_ports(count: int) -> list[int]:
    """Unused ports of the loopback address; all are bound at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Program:
    """One child process in its own process group. It ends with the process that started it, even if that is killed."""

    def __init__(self, command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.name = Path(command[0]).name
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until `ready` returns true. Raises NotStarted where the program ends first or the time is up."""
        end = time.monotonic() + seconds
        while not ready():
            if self._process.poll() is not None:
                raise NotStarted(f"{self.name} ended with {self._process.returncode}: {self.log_end()}")
            if time.monotonic() > end:
                raise NotStarted(f"{self.name} was not ready within {seconds:g} s: {self.log_end()}")
            time.sleep(0.1)

    def log_end(self, characters: int = 3000) -> str:
        """The last lines of the log."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-characters:]

    def stop(self) -> None:
        """End the whole group: politely, then by force. Does nothing the second time."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):  # it has just ended
                    os.killpg(self._process.pid, number)
            try:
                self._process.wait(STOP_SECONDS)
                return
            except subprocess.TimeoutExpired:
                continue


def _end_with_parent() -> None:
    """In the child, before the program starts."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
