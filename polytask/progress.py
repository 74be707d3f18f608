"""Progress of a step on standard output, one line at a time, which every runner of pipelines shows."""

import logging
import sys
import time
from collections.abc import Callable

from polytask import PACKAGES


def log_to_stdout() -> None:
    """Print the log lines of this project only, without decoration."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def every(seconds: float, say: Callable[[str], None], what: str) -> Callable[[int, int], None]:
    """A callback (done, total) that logs `what` at most once in `seconds`, and always at the end."""
    last = -seconds

    def report(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= seconds:
            last = time.monotonic()
            say(f"{what} {done}/{total}")

    return report
