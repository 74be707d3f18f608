"""When a call is tried again, and what its failure means to the caller. One policy for every kind of client."""

import time
from typing import Any

import tenacity
from tritonclient.utils import InferenceServerException

from polytask.errors import RequestError, ServingError

RETRY_AT_FIRST_SECONDS, RETRY_AT_MOST_SECONDS, JITTER_SECONDS = 0.05, 0.5, 0.05

# The server did not work on such a call, or had no room for it. A deadline that passed is no reason to ask again: the
# time is spent, and the server may be working on it still.
# What gRPC says where no server was reached.
NOBODY_THERE = ("failed to connect", "errors resolving")
WORTH_A_RETRY = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


class ServiceUnavailable(ServingError):
    """The recommender, or a service it needs, is down, full or slow. The same call may succeed later."""


def retry_policy(attempts: int, deadline_seconds: float) -> dict[str, Any]:
    """Arguments of tenacity's `Retrying` and `AsyncRetrying`: no wait that would end after the deadline is begun."""
    return {"retry": tenacity.retry_if_exception(_worth_a_retry), **retry_times(attempts, deadline_seconds)}


def retry_times(attempts: int, deadline_seconds: float) -> dict[str, Any]:
    """The part of the policy that says when, whatever the protocol."""
    return {
        "stop": tenacity.stop_after_attempt(attempts) | tenacity.stop_before_delay(deadline_seconds),
        "wait": tenacity.wait_exponential_jitter(RETRY_AT_FIRST_SECONDS, RETRY_AT_MOST_SECONDS, jitter=JITTER_SECONDS),
        "reraise": True,
    }


class Countdown:
    """The seconds that are left of a deadline, never 0: gRPC takes that for no deadline at all."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def __call__(self) -> float:
        """Seconds left."""
        return max(0.001, self._end - time.monotonic())


def translate(error: InferenceServerException, url: str, deadline_seconds: float) -> ServingError | RequestError:
    """The error for the caller: RequestError with the field that the server refuses, or ServingError with the fix."""
    status, message = (error.status() or "").rpartition(".")[2], error.message()
    where = f"recommender at {url}"
    match status:
        case "INVALID_ARGUMENT":
            name, _, rest = message.partition(": ")
            return RequestError(name, rest) if rest else RequestError("request", message)
        case "UNAVAILABLE" if any(words in message for words in NOBODY_THERE):
            return ServiceUnavailable(
                f"{where}: nobody answers there; is it up, and the address host:port? ({message})"
            )
        case "UNAVAILABLE" | "RESOURCE_EXHAUSTED":
            return ServiceUnavailable(f"{where}: {message}")
        case "DEADLINE_EXCEEDED":
            return ServiceUnavailable(f"{where}: no answer within {deadline_seconds:g} s")
        case "UNAUTHENTICATED" | "PERMISSION_DENIED":
            return ServingError(f"{where}: {status}: {message}; give a token that it accepts")
        case _:
            return ServingError(f"{where}: {status}: {message}")


def _worth_a_retry(error: BaseException) -> bool:
    return isinstance(error, InferenceServerException) and (error.status() or "").endswith(WORTH_A_RETRY)
