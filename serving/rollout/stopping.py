"""SIGTERM and SIGINT end a rollout like an error: it puts things right while the grace period of the pod lasts."""

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LOGGER = logging.getLogger(__name__)
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequested(BaseException):
    """The process is to end. No error of a rollout, which would be answered by waiting for an older model."""


@contextmanager
def stop_requests() -> Iterator[None]:
    """Raise StopRequested in the block at the first of the signals; later ones do not disturb what is put right then.

    Outside the main thread nothing is changed: Python delivers signals there alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise StopRequested(signal.Signals(number).name)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
