"""Ctrl-C and SIGTERM during a run of the local runner: the step in progress is stopped, what is finished is kept.

kfp runs a step in the process group of the terminal, so that Ctrl-C ends a step which has written its outputs and is
about to exit, and the run ends before the outputs are in the cache. Here a step has a process group of its own, which
is stopped only while it works; a signal that comes later is handled once the runner has taken the outputs.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# How long a step may take to end after the signal: it removes temporary files and stops processes of its own.
GRACE_SECONDS = 20.0
# What a shell reports of a process that a signal has ended.
SIGNAL_EXIT_CODE = 128


class Interrupts:
    """The signals of one run. Use `handled` around the run, and let the runner start steps by `run_step`."""

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        self._grace_seconds = grace_seconds
        self._received: signal.Signals | None = None
        self._process: subprocess.Popen[str] | None = None
        self._finishing = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals in the block, as far as it runs in the main thread: Python delivers them there alone.

        Raises KeyboardInterrupt after SIGINT, and SystemExit (143, 129) after SIGTERM or SIGHUP.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        # What is ignored stays so: `nohup` ignores SIGHUP, a shell SIGINT of a job in the background.
        heeded = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
        before = {number: signal.signal(number, self._receive) for number in heeded}
        try:
            yield
            self.step_taken()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def run_step(self, full_command: Sequence[str], env_vars: Mapping[str, str] | None = None) -> int:
        """Run a step's command, print what it prints, and return its exit code, as kfp's function of this place does.

        Raises KeyboardInterrupt or SystemExit where a signal has stopped the step; none of its processes is left.
        """
        environment = {**os.environ, **env_vars} if env_vars else None
        with subprocess.Popen(
            list(full_command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
            env=environment,
            start_new_session=True,
        ) as process:
            self._process = process
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    print(line, end="")  # noqa: T201 - kfp's runner takes what is printed
                print("\n")  # noqa: T201
                code = process.wait()
            finally:
                self._process = None
                if process.poll() is None:
                    _signal_group(process, signal.SIGKILL)
        if code and self._received is not None:
            self._end()
        return code

    def step_finishing(self) -> None:
        """Called when a step has written its outputs: from now on a signal waits until they are taken."""
        self._finishing = True

    def step_taken(self) -> None:
        """Called when the runner has taken a step's outputs, or given it up. Raises for a signal that has waited."""
        self._finishing = False
        if self._received is not None:
            self._end()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        again = self._received is not None
        self._received = signal.Signals(number)
        process = self._process
        if self._finishing:
            return
        if process is None:
            self._end()
        # A second signal of a person who does not want to wait.
        _signal_group(process, signal.SIGKILL if again else signal.SIGINT)
        if not again:
            timer = threading.Timer(self._grace_seconds, _signal_group, (process, signal.SIGKILL))
            timer.daemon = True
            timer.start()

    def _end(self) -> Any:
        received, self._received = self._received, None
        if received is None or received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(SIGNAL_EXIT_CODE + received)


def _signal_group(process: "subprocess.Popen[str] | None", number: int) -> None:
    """Send a signal to a step and all that it has started, unless it has been waited for."""
    if process is not None and process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
