"""Two clients over gRPC, a blocking one and one for asyncio; the shared code is in the other modules of the package."""

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from polytask.client.answers import Recommendations
from polytask.client.calls import Countdown, retry_policy, translate
from polytask.client.connection import CHANNEL_OPTIONS, Connection, Tls, Token
from polytask.client.messages import inputs_of, responses_of
from polytask.client.questions import Options, Question, RequestFields, one_question
from polytask.client.retry_budget import RetryBudget

if TYPE_CHECKING:
    import tritonclient.grpc as triton


class _Client:
    """What both clients have in common.

    `url` is host:port of a recommender's gRPC endpoint. A call ends within `deadline_seconds`, retries included; only
    what the server had no capacity or no time to start (UNAVAILABLE, RESOURCE_EXHAUSTED) is retried, after the time
    that the server requests (`retry-after`), while not too many calls of this client fail (`RetryBudget`). Calls raise
    RequestError with the field that the server refuses, ServiceUnavailable when it is down, full or slow, ServingError
    otherwise. See `Connection` for TLS and tokens.
    """

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

    def _kind(self) -> type[Any]:
        """The client of tritonclient that this one uses."""
        raise NotImplementedError

    @property
    def _server(self) -> Any:
        if self._opened is None:  # at the first call, because it belongs to the event loop that uses it
            credentials = self._connection.credentials
            options = list(CHANNEL_OPTIONS)
            self._opened = self._kind()(self.url, ssl=credentials is not None, creds=credentials, channel_args=options)
        return self._opened

    def _infer(self, inputs: "list[triton.InferInput]", seconds: float) -> Any:
        headers = self._connection.headers()
        return self._server.infer(self.model, inputs, client_timeout=seconds, headers=headers)

    def _metadata(self, seconds: float) -> Any:
        headers = self._connection.headers()
        return self._server.get_model_metadata(self.model, client_timeout=seconds, headers=headers)


class RecommenderClient(_Client):
    """A client of the recommender that blocks until the response is received.

    The connection is opened by the first call.

    Args:
        url: Address of the recommender's gRPC endpoint, `host:port`.
        model: Name of the model at the recommender.
        deadline_seconds: Limit of each call, retries and waits included.
        attempts: Maximum number of attempts of each call, the first included.
        tls: Certificates of an encrypted connection; None for plain text.
        token: Bearer token, or a function that returns it before each attempt.
        insecure_token: Whether the token may be sent in plain text to another machine.

    Raises:
        RequestError: The token would be sent in plain text to another machine.

    Examples:
        >>> with RecommenderClient("127.0.0.1:8081") as client:
        ...     response = client.recommend(42, query="a scary ghost story", k=5)
        >>> [entry.title for entry in response.tasks["item"]]
    """

    def _kind(self) -> type[Any]:
        import tritonclient.grpc

        return tritonclient.grpc.InferenceServerClient  # type: ignore[no-any-return]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def recommend(self, user: int | str, **requested: Unpack[RequestFields]) -> Recommendations:
        """Request recommendations for one user.

        Args:
            user: Key of the user; an unknown one is a cold start.
            **requested: Fields of a `Question` (`query`, `timestamp`, `recent_items`, ...) and `Options` (`tasks`, `k`,
                ...).

        Returns:
            The entries of each task, best first.

        Raises:
            RequestError: A field of the request is invalid; the error names it.
            ServiceUnavailable: The recommender, or a service it needs, is unavailable, overloaded or too slow.
            ServingError: The recommender returned another error.

        Examples:
            >>> response = client.recommend(42, query="a light-hearted comedy", k=3, slate=4)
        """
        question, options = one_question(user, requested)
        return self.recommend_many([question], **options)[0]

    def recommend_many(self, questions: Sequence[Question], **options: Unpack[Options]) -> list[Recommendations]:
        """Request recommendations for a batch of users with one call.

        Args:
            questions: One question per user, B in all. The server limits B.
            **options: Options of the whole call.

        Returns:
            B results in the order of `questions`; an empty list without a call if there are none.

        Raises:
            RequestError: A field of the request is invalid; the error names it.
            ServiceUnavailable: The recommender, or a service it needs, is unavailable, overloaded or too slow.
            ServingError: The recommender returned another error.

        Examples:
            >>> responses = client.recommend_many([Question(10), Question(20)], tasks=["item"], k=1)
        """
        if not questions:
            return []
        inputs = inputs_of(questions, **options)
        return responses_of(questions, self._call(lambda seconds: self._infer(inputs, seconds)))

    def input_types(self) -> dict[str, str]:
        """Request the inputs that the recommender accepts.

        Returns:
            Input name -> datatype. `user_id` is INT64 where keys are integers and BYTES where they are strings.

        Raises:
            RequestError: A field of the request is invalid; the error names it.
            ServiceUnavailable: The recommender, or a service it needs, is unavailable, overloaded or too slow.
            ServingError: The recommender returned another error.
        """
        return {tensor.name: tensor.datatype for tensor in self._call(self._metadata).inputs}

    def _call(self, send: Callable[[float], Any]) -> Any:
        import tenacity
        from tritonclient.utils import InferenceServerException

        left = Countdown(self.deadline_seconds)
        try:
            return tenacity.Retrying(**self._policy)(lambda: send(left()))
        except InferenceServerException as error:
            raise translate(error, self.url, self.deadline_seconds) from error


class AsyncRecommenderClient(_Client):
    """A client of the recommender for asyncio.

    The connection is opened by the first call and belongs to its event loop. A call that is cancelled is cancelled at
    the
    server too.

    Args:
        url: Address of the recommender's gRPC endpoint, `host:port`.
        model: Name of the model at the recommender.
        deadline_seconds: Limit of each call, retries and waits included.
        attempts: Maximum number of attempts of each call, the first included.
        tls: Certificates of an encrypted connection; None for plain text.
        token: Bearer token, or a function that returns it before each attempt.
        insecure_token: Whether the token may be sent in plain text to another machine.

    Raises:
        RequestError: The token would be sent in plain text to another machine.

    Examples:
        >>> async with AsyncRecommenderClient("127.0.0.1:8081") as client:
        ...     responses = await asyncio.gather(*(client.recommend(user, tasks=["item"]) for user in (10, 20)))
    """

    def _kind(self) -> type[Any]:
        import tritonclient.grpc.aio

        return tritonclient.grpc.aio.InferenceServerClient  # type: ignore[no-any-return]

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

    async def recommend(self, user: int | str, **requested: Unpack[RequestFields]) -> Recommendations:
        """Request recommendations for one user.

        Args:
            user: Key of the user; an unknown one is a cold start.
            **requested: Fields of a `Question` (`query`, `timestamp`, `recent_items`, ...) and `Options` (`tasks`, `k`,
                ...).

        Returns:
            The entries of each task, best first.

        Raises:
            RequestError: A field of the request is invalid; the error names it.
            ServiceUnavailable: The recommender, or a service it needs, is unavailable, overloaded or too slow.
            ServingError: The recommender returned another error.

        Examples:
            >>> response = await client.recommend(42, query="a light-hearted comedy", k=3, slate=4)
        """
        question, options = one_question(user, requested)
        return (await self.recommend_many([question], **options))[0]

    async def recommend_many(self, questions: Sequence[Question], **options: Unpack[Options]) -> list[Recommendations]:
        """Request recommendations for a batch of users with one call.

        Args:
            questions: One question per user, B in all. The server limits B.
            **options: Options of the whole call.

        Returns:
            B results in the order of `questions`; an empty list without a call if there are none.

        Raises:
            RequestError: A field of the request is invalid; the error names it.
            ServiceUnavailable: The recommender, or a service it needs, is unavailable, overloaded or too slow.
            ServingError: The recommender returned another error.

        Examples:
            >>> responses = await client.recommend_many([Question(10), Question(20)], tasks=["item"], k=1)
        """
        if not questions:
            return []
        inputs = inputs_of(questions, **options)
        return responses_of(questions, await self._call(lambda seconds: self._infer(inputs, seconds)))

    async def input_types(self) -> dict[str, str]:
        """Request the inputs that the recommender accepts.

        Returns:
            Input name -> datatype. `user_id` is INT64 where keys are integers and BYTES where they are strings.

        Raises:
            RequestError: A field of the request is invalid; the error names it.
            ServiceUnavailable: The recommender, or a service it needs, is unavailable, overloaded or too slow.
            ServingError: The recommender returned another error.
        """
        return {tensor.name: tensor.datatype for tensor in (await self._call(self._metadata)).inputs}

    async def _call(self, send: Callable[[float], Awaitable[Any]]) -> Any:
        import tenacity
        from tritonclient.utils import InferenceServerException

        left = Countdown(self.deadline_seconds)

        async def attempt() -> Any:
            return await send(left())

        try:
            return await tenacity.AsyncRetrying(**self._policy)(attempt)
        except InferenceServerException as error:
            raise translate(error, self.url, self.deadline_seconds) from error
