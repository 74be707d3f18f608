"""SIGTERM and SIGINT end a rollout like an error: it restores what was served within the grace period of the pod."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequested(BaseException):
    """The process is to end. Not a RolloutError, which would start a rollback and wait for an older model."""


class _Requests:
    """The signal that has come and was not raised yet, and how many blocks must not be disturbed by one."""

    waiting: str | None = None
    undisturbed = 0


@contextmanager
def stop_requests() -> Iterator[None]:
    """Raise StopRequested in the block at the first of the signals; later ones are ignored while it restores.

    Outside the main thread nothing is changed: Python delivers signals there alone.
    """
    if not _in_main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        _Requests.waiting = signal.Signals(number).name
        _raise_waiting()

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _Requests.waiting = None


@contextmanager
def undisturbed() -> Iterator[None]:
    """A few calls that belong together: a signal in the block is raised at its end."""
    if not _in_main_thread():
        yield
        return
    _Requests.undisturbed += 1
    try:
        yield
    finally:
        _Requests.undisturbed -= 1
    _raise_waiting()


def _raise_waiting() -> None:
    if _Requests.waiting is not None and _Requests.undisturbed == 0:
        number, _Requests.waiting = _Requests.waiting, None
        raise StopRequested(number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
