"""When a call is tried again, and what its failure means to the caller. One policy for every kind of client."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from polytask.client.retry_budget import RetryBudget
from polytask.errors import RequestError, ServingError

if TYPE_CHECKING:
    import tenacity
    from tritonclient.utils import InferenceServerException

RETRY_AT_FIRST_SECONDS, RETRY_AT_MOST_SECONDS, JITTER_SECONDS = 0.05, 0.5, 0.05

# The server did not process such a call, or had no capacity for it. An exceeded deadline is not retried: the time is
# spent, and the server may still be processing the call.
# What gRPC reports where no server was reached.
NOBODY_THERE = ("failed to connect", "errors resolving")
WORTH_A_RETRY = ("UNAVAILABLE", "RESOURCE_EXHAUSTED")


class ServiceUnavailable(ServingError):
    """The recommender, or a service it needs, is down, full or slow. The same call may succeed later."""


def retry_policy(attempts: int, deadline_seconds: float, budget: RetryBudget) -> dict[str, Any]:
    """Arguments of tenacity's `Retrying` and `AsyncRetrying` for the gRPC clients."""
    return retry_rules(attempts, deadline_seconds, budget, _worth_a_retry, _retry_after)


def retry_rules(
    attempts: int,
    deadline_seconds: float,
    budget: RetryBudget,
    worth_a_retry: Callable[[BaseException], bool],
    retry_after: Callable[[BaseException], float],
) -> dict[str, Any]:
    """Return the same for any protocol.

    A retry waits for as long as the server requests plus a random part, so that clients do not retry simultaneously.
    A wait that would end after the deadline is not started, and `budget` limits the retries of all calls of a
    connection.

    Args:
        attempts: Of one call, the first included.
        deadline_seconds: Of one call, all attempts and waits included.
        budget: The tokens of the connection.
        worth_a_retry: Whether the server did not begin to work on a failed attempt.
        retry_after: Delay in seconds that the server requires after an error, 0 if it requires none.

    Returns:
        Arguments of tenacity's `Retrying` and `AsyncRetrying`.
    """
    import tenacity

    backoff = tenacity.wait_exponential_jitter(RETRY_AT_FIRST_SECONDS, RETRY_AT_MOST_SECONDS, jitter=JITTER_SECONDS)

    def wait(state: "tenacity.RetryCallState") -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        return backoff(state) + (0.0 if error is None else retry_after(error))

    def retry(state: "tenacity.RetryCallState") -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if error is None:
            budget.succeeded()
            return False
        return worth_a_retry(error) and budget.failed()

    return {
        "stop": tenacity.stop_after_attempt(attempts) | tenacity.stop_before_delay(deadline_seconds),
        "wait": wait,
        "retry": retry,
        "reraise": True,
    }


class Countdown:
    """The seconds that are left of a deadline, never 0: gRPC takes that for no deadline at all."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def __call__(self) -> float:
        """Seconds left."""
        return max(0.001, self._end - time.monotonic())


def translate(error: "InferenceServerException", url: str, deadline_seconds: float) -> ServingError | RequestError:
    """The error for the caller: RequestError with the field that the server refuses, or ServingError with the fix."""
    status, message = (error.status() or "").rpartition(".")[2], error.message()
    where = f"recommender at {url}"
    match status:
        case "INVALID_ARGUMENT":
            name, _, rest = message.partition(": ")
            return RequestError(name, rest) if rest else RequestError("request", message)
        case "UNAVAILABLE" if any(words in message for words in NOBODY_THERE):
            return ServiceUnavailable(
                f"{where}: cannot connect; check that it is running and that the address is host:port ({message})"
            )
        case "UNAVAILABLE" | "RESOURCE_EXHAUSTED":
            return ServiceUnavailable(f"{where}: {message}")
        case "DEADLINE_EXCEEDED" if message != "Deadline Exceeded":  # the server's own was shorter
            return ServiceUnavailable(f"{where}: {message}")
        case "DEADLINE_EXCEEDED":
            return ServiceUnavailable(f"{where}: no response within {deadline_seconds:g} s")
        case "UNAUTHENTICATED" | "PERMISSION_DENIED":
            return ServingError(f"{where}: {status}: {message}; give a token that it accepts")
        case _:
            return ServingError(f"{where}: {status}: {message}")


def _worth_a_retry(error: BaseException) -> bool:
    from tritonclient.utils import InferenceServerException

    return isinstance(error, InferenceServerException) and (error.status() or "").endswith(WORTH_A_RETRY)


def _retry_after(error: BaseException) -> float:
    """Seconds from the trailing metadata. tritonclient raises its error while it handles gRPC's, which has them."""
    import grpc

    cause = error.__cause__ or error.__context__
    if not isinstance(cause, grpc.RpcError) or not hasattr(cause, "trailing_metadata"):
        return 0.0
    return seconds_of(dict(cause.trailing_metadata() or ()).get("retry-after"))


def seconds_of(text: object) -> float:
    """The seconds of a Retry-After; 0 where there is none, or a date, which no server of ours sends."""
    return float(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0.0
