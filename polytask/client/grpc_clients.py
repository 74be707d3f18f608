"""Two clients over gRPC, a blocking one and one for asyncio; the shared code is in the other modules of the package."""

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, Unpack

import tenacity
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from polytask.client.answers import Answer
from polytask.client.calls import Countdown, retry_policy, translate
from polytask.client.connection import CHANNEL_OPTIONS, Connection, Tls, Token
from polytask.client.messages import answers_of, inputs_of
from polytask.client.questions import Asked, Options, Question, one_question
from polytask.client.retry_budget import RetryBudget


class _Client:
    """What both clients have in common.

    `url` is host:port of a recommender's gRPC endpoint. A call ends within `deadline_seconds`, retries included; only
    what the server had no capacity or no time to start (UNAVAILABLE, RESOURCE_EXHAUSTED) is retried, after the time
    that the server requests (`retry-after`), while not too many calls of this client fail (`RetryBudget`). Calls raise
    RequestError with the field that the server refuses, ServiceUnavailable when it is down, full or slow, ServingError
    otherwise. See `Connection` for TLS and tokens.
    """

    _kind: type[Any]

    def __init__(
        self,
        url: str,
        *,
        model: str = "recommender",
        deadline_seconds: float = 5.0,
        attempts: int = 3,
        tls: Tls | None = None,
        token: Token | None = None,
        insecure_token: bool = False,
    ) -> None:
        self.url = url
        self.model = model
        self.deadline_seconds = deadline_seconds
        self._policy = retry_policy(attempts, deadline_seconds, RetryBudget())
        self._connection = Connection(url, tls, token, insecure_token)
        self._opened: Any = None

    @property
    def _server(self) -> Any:
        if self._opened is None:  # at the first call, because it belongs to the event loop that uses it
            credentials = self._connection.credentials
            options = list(CHANNEL_OPTIONS)
            self._opened = self._kind(self.url, ssl=credentials is not None, creds=credentials, channel_args=options)
        return self._opened

    def _infer(self, inputs: list[triton.InferInput], seconds: float) -> Any:
        headers = self._connection.headers()
        return self._server.infer(self.model, inputs, client_timeout=seconds, headers=headers)

    def _metadata(self, seconds: float) -> Any:
        headers = self._connection.headers()
        return self._server.get_model_metadata(self.model, client_timeout=seconds, headers=headers)


class RecommenderClient(_Client):
    """A blocking client of the recommender at `url`."""

    _kind = triton.InferenceServerClient

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def recommend(self, user: int | str, **asked: Unpack[Asked]) -> Answer:
        """Return the recommendations for one user, from the fields of a `Question` and `Options` of a call."""
        question, options = one_question(user, asked)
        return self.recommend_many([question], **options)[0]

    def recommend_many(self, questions: Sequence[Question], **options: Unpack[Options]) -> list[Answer]:
        """Return the recommendations for a batch of users, in their order, from one call."""
        if not questions:
            return []
        inputs = inputs_of(questions, **options)
        return answers_of(questions, self._call(lambda seconds: self._infer(inputs, seconds)))

    def input_types(self) -> dict[str, str]:
        """Name -> datatype of the inputs of the server; that of `user_id` is INT64 or BYTES, as the users' keys."""
        return {tensor.name: tensor.datatype for tensor in self._call(self._metadata).inputs}

    def _call(self, send: Callable[[float], Any]) -> Any:
        left = Countdown(self.deadline_seconds)
        try:
            return tenacity.Retrying(**self._policy)(lambda: send(left()))
        except InferenceServerException as error:
            raise translate(error, self.url, self.deadline_seconds) from error


class AsyncRecommenderClient(_Client):
    """An asyncio client of the recommender at `url`; a cancelled call is cancelled on the server too."""

    _kind = triton_aio.InferenceServerClient

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            opened, self._opened = self._opened, None
            await opened.close()

    async def recommend(self, user: int | str, **asked: Unpack[Asked]) -> Answer:
        """Return the recommendations for one user, from the fields of a `Question` and `Options` of a call."""
        question, options = one_question(user, asked)
        return (await self.recommend_many([question], **options))[0]

    async def recommend_many(self, questions: Sequence[Question], **options: Unpack[Options]) -> list[Answer]:
        """Return the recommendations for a batch of users, in their order, from one call."""
        if not questions:
            return []
        inputs = inputs_of(questions, **options)
        return answers_of(questions, await self._call(lambda seconds: self._infer(inputs, seconds)))

    async def input_types(self) -> dict[str, str]:
        """Name -> datatype of the inputs of the server; that of `user_id` is INT64 or BYTES, as the users' keys."""
        return {tensor.name: tensor.datatype for tensor in (await self._call(self._metadata)).inputs}

    async def _call(self, send: Callable[[float], Awaitable[Any]]) -> Any:
        left = Countdown(self.deadline_seconds)

        async def attempt() -> Any:
            return await send(left())

        try:
            return await tenacity.AsyncRetrying(**self._policy)(attempt)
        except InferenceServerException as error:
            raise translate(error, self.url, self.deadline_seconds) from error
