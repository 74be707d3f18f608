"""The start of the transformer and of the explainer: parts that are unavailable are waited for, for a bounded time."""

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from polytask.errors import ContractError
from serving.transformer.concurrency.blocking import within
from serving.transformer.concurrency.deadline import Deadline, Unavailable
from serving.transformer.deployed import Deployed, deployed_bundles
from serving.transformer.features.known_users import check_known_users
from serving.transformer.release import AnyRelease, Releases, next_release

LOGGER = logging.getLogger(__name__)

REGISTRY_SECONDS = 60.0
RETRY_SECONDS = 2.0
FIRST_READ_SECONDS = 10.0

Result = TypeVar("Result")


def start_releases(
    arguments: argparse.Namespace, open_release: Callable[[Deployed, str], AnyRelease]
) -> Releases[AnyRelease]:
    """Open the releases of the deployed bundles, and read the feature store once.

    Args:
        arguments: Those of `server_parser`.
        open_release: Opens the release of a bundle, with the address of its predictor.

    Returns:
        The releases, which open the next ones in the same way.

    Raises:
        PolytaskError: The parts do not fit together, or the feature registry stayed unavailable.
    """
    bundles = deployed_bundles(arguments.bundle, arguments.contract_sha256)
    first = wait_for_registry(
        lambda: [open_release(bundle, arguments.predictor_host) for bundle in bundles], arguments.registry_seconds
    )
    check_known_users(first, arguments)
    first_read(first[0].probe_features)

    def open_next() -> Iterator[AnyRelease]:
        yield open_release(*next_release(arguments.release))

    return Releases(first, open_next, arguments.deadline_seconds)


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
