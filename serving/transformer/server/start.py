"""The start of the transformer and of the explainer: parts that are unavailable are waited for, for a bounded time."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from polytask.errors import ContractError
from serving.transformer.concurrency.blocking import within
from serving.transformer.concurrency.deadline import Deadline, Unavailable

LOGGER = logging.getLogger(__name__)

REGISTRY_SECONDS = 60.0
RETRY_SECONDS = 2.0
FIRST_READ_SECONDS = 10.0

Result = TypeVar("Result")


def wait_for_registry(open_all: Callable[[], Result], seconds: float) -> Result:
    """What `open_all` returns, which is tried again while it raises Unavailable.

    Raises Unavailable with the last reason after `seconds`, anything else at once. One line of the log for each retry.
    """
    deadline = Deadline(seconds)
    while True:
        try:
            return open_all()
        except Unavailable as error:
            if deadline.left() <= RETRY_SECONDS:
                raise Unavailable(f"{error}; gave up after {seconds:g} s (--registry_seconds)") from error
            LOGGER.warning("start: %s; retrying for another %.0f s", error, deadline.left())
            time.sleep(RETRY_SECONDS)


def first_read(read: Callable[[], None]) -> None:
    """Read the feature store once: that loads much which the first request would wait for."""
    try:
        within(Deadline(FIRST_READ_SECONDS), "feature store", read)
    except (Unavailable, ContractError) as error:  # readiness reports what lasts
        LOGGER.warning("start: goes on without the feature store: %s", error)
