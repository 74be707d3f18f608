"""How much a command prints: results always, progress unless `--quiet`, debug logs and tracebacks with `--verbose`.

The choice is an environment variable, so that the processes that a command starts, such as the steps of a pipeline, get
it too.
"""

import logging
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from polytask import PACKAGES

if TYPE_CHECKING:
    from rich.console import Console

VERBOSITY = "POLYTASK_VERBOSITY"
QUIET, VERBOSE = "quiet", "verbose"


def is_quiet() -> bool:
    """Whether results and errors alone are printed."""
    return os.environ.get(VERBOSITY) == QUIET


def is_verbose() -> bool:
    """Whether debug logs, the output of pipeline steps and the tracebacks of errors are printed too."""
    return os.environ.get(VERBOSITY) == VERBOSE


def log_level() -> int:
    """The least level of the log lines of this project that are printed."""
    if is_verbose():
        return logging.DEBUG
    return logging.WARNING if is_quiet() else logging.INFO


def progress_console() -> "Console":
    """A console on today's standard output for progress; it prints nothing when a command is quiet."""
    from rich.console import Console

    return Console(file=sys.stdout, quiet=is_quiet())


def log_to_stdout() -> None:
    """Print the log lines of this project and nobody else's, without decoration."""
    _log_to(sys.stdout, logging.Formatter("%(message)s"))


def log_to_stderr() -> None:
    """Print the log lines of this project on standard error, with their logger where debug logs are printed.

    A second call changes the level and prints no line twice.
    """
    _log_to(sys.stderr, logging.Formatter("%(name)s: %(message)s" if is_verbose() else "%(message)s"))


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, to be replaced by the next call."""


def _log_to(stream: TextIO, form: logging.Formatter) -> None:
    handler = _Handler(stream)
    handler.setFormatter(form)
    for name in PACKAGES:
        logger = logging.getLogger(name)
        for other in [one for one in logger.handlers if isinstance(one, _Handler)]:
            logger.removeHandler(other)
        logger.addHandler(handler)
        logger.setLevel(log_level())


def every(seconds: float, log: Callable[[str], None], what: str) -> Callable[[int, int], None]:
    """A callback (done, total) that logs `what` at most once in `seconds`, and always at the end."""
    last = -seconds

    def report(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= seconds:
            last = time.monotonic()
            log(f"{what} {done}/{total}")

    return report
