"""Requests explanations of predictions from an explainer over REST."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Unpack

from polytask.client.answers import Entry, Ranked, ScoredLabel, Value
from polytask.client.calls import Countdown, ServiceUnavailable, retry_rules, seconds_of
from polytask.client.connection import Connection, Tls, Token
from polytask.client.questions import Details, Question
from polytask.client.retry_budget import budget_of
from polytask.contract.names import COLD_START, FILTERS, INSTANCES, STALE_FEATURES, TARGETS, TASKS, TRUNCATED, USER_ID
from polytask.errors import RequestError, ServingError

if TYPE_CHECKING:
    import httpx

NOT_BEGUN = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True)
class ItemContribution:
    """How much an item of the history raised the score of the prediction; `at_least`: that much or more."""

    id: int | str
    title: str
    contribution: float
    at_least: bool


@dataclass(frozen=True)
class WordsContribution:
    """The same for a group of tokens: `part` is profile, context or query, `name` the column, word or position."""

    part: str
    name: int | str
    text: str
    contribution: float
    at_least: bool


@dataclass(frozen=True)
class TaskExplanation:
    """The explained prediction of a task, None if there is none, and its contributions, the largest first."""

    answer: Entry | None
    history: tuple[ItemContribution, ...]
    words: tuple[WordsContribution, ...]


@dataclass(frozen=True)
class Explanation:
    """Task name -> its explanation, for one user."""

    user: int | str
    tasks: Mapping[str, TaskExplanation]
    cold_start: bool
    truncated: bool
    stale_features: bool
    model_version: str
    contract_checksum: str

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts and lists, ready for JSON."""
        return asdict(self)


class _Refused(Exception):
    """A status that is worth another attempt."""

    def __init__(self, response: "httpx.Response") -> None:
        super().__init__()
        self.response = response


def _worth_a_retry(error: BaseException) -> bool:
    import httpx

    return isinstance(error, _Refused | httpx.ConnectError)


def _retry_after(error: BaseException) -> float:
    return seconds_of(error.response.headers.get("retry-after")) if isinstance(error, _Refused) else 0.0


def explain(
    url: str,
    user: int | str,
    *,
    tasks: Sequence[str] | None = None,
    targets: Mapping[str, int | str] | None = None,
    filters: Sequence[str] | None = None,
    model: str = "recommender",
    deadline_seconds: float = 10.0,
    attempts: int = 3,
    tls: Tls | None = None,
    token: Token | None = None,
    insecure_token: bool = False,
    **details: Unpack[Details],
) -> Explanation:
    """Explain each task's recommendations by history items and request tokens.

    Errors and retries are those of the other clients.

    Args:
        url: REST address of the explainer, such as `http://127.0.0.1:8090`.
        user: Key of the user.
        tasks: Names of the tasks to explain; None for all.
        targets: Task name -> id or label of the entry to explain; for the other tasks it is the first entry.
        filters: Filters of the request that is explained, such as `genres=Horror|Comedy`.
        model: Name of the model at the explainer.
        deadline_seconds: Limit of the call, retries and waits included.
        attempts: Maximum number of attempts, the first included.
        tls: Certificates of an encrypted connection; None uses those of the system for an `https` address.
        token: Bearer token, or a function that returns it before each attempt.
        insecure_token: Whether the token may be sent in plain text to another machine.
        **details: Fields of a `Question` other than the user.

    Returns:
        One explanation per task. `contribution` is the decrease of the entry's score without the item or token.

    Raises:
        RequestError: A field of the request is invalid; the error names it.
        ServiceUnavailable: The explainer, or a service it needs, is unavailable, overloaded or too slow.
        ServingError: The explainer returned another error.

    Examples:
        >>> explanation = explain("http://127.0.0.1:8090", 42, tasks=["item"], query="a scary ghost story")
        >>> explanation.tasks["item"].history[0].title
    """
    import httpx
    import tenacity

    connection = Connection(url, tls, token, insecure_token)
    question = {name: value for name, value in asdict(Question(user, **details)).items() if value}
    instance: dict[str, Any] = {USER_ID: user, **{name: value for name, value in question.items() if name != "user"}}
    if targets:
        instance[TARGETS] = dict(targets)
    if filters:
        instance[FILTERS] = list(filters)
    body = {INSTANCES: [instance], **({} if tasks is None else {TASKS: list(tasks)})}
    left = Countdown(deadline_seconds)

    def attempt(client: httpx.Client) -> httpx.Response:
        response = client.post(f"/v1/models/{model}:explain", json=body, headers=connection.headers(), timeout=left())
        if response.status_code in NOT_BEGUN:
            raise _Refused(response)
        return response

    where = f"explainer at {url}"
    with httpx.Client(base_url=url, verify=connection.ssl_context) as client:
        try:
            rules = retry_rules(attempts, deadline_seconds, budget_of(url), _worth_a_retry, _retry_after)
            response = tenacity.Retrying(**rules)(attempt, client)
        except _Refused as error:
            raise ServiceUnavailable(f"{where}: {_message(error.response)}") from error
        except httpx.TimeoutException as error:
            raise ServiceUnavailable(f"{where}: no response within {deadline_seconds:g} s") from error
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            fix = "cannot connect; check that it is running and that the address is http://host:port"
            raise ServiceUnavailable(f"{where}: {fix} ({error})") from error
        except httpx.TransportError as error:
            raise ServiceUnavailable(f"{where}: {error}") from error
    if response.status_code == HTTPStatus.GATEWAY_TIMEOUT:
        raise ServiceUnavailable(f"{where}: {_message(response)}")
    if response.status_code == HTTPStatus.BAD_REQUEST:
        name, _, rest = _message(response).partition(": ")
        raise RequestError(name.removeprefix("instances[0]."), rest) if rest else RequestError("request", name)
    if response.status_code != HTTPStatus.OK:
        raise ServingError(f"{where}: {response.status_code}: {_message(response)}")
    return _explanation(user, response.json())


def _explanation(user: int | str, content: Mapping[str, Any]) -> Explanation:
    (found,) = content["explanations"]
    tasks = {
        name: TaskExplanation(
            None if task["answer"] is None else _entry(task["answer"]),
            tuple(ItemContribution(**one) for one in task["history"]),
            tuple(WordsContribution(**one) for one in task["words"]),
        )
        for name, task in found[TASKS].items()
    }
    flags = {name: found[name] for name in (COLD_START, TRUNCATED, STALE_FEATURES)}
    return Explanation(user, tasks, **flags, **{name: content[name] for name in ("model_version", "contract_checksum")})


def _entry(answer: Mapping[str, Any]) -> Entry:
    if "value" in answer:
        return Value(**answer)
    return ScoredLabel(**answer) if "label" in answer else Ranked(**answer)


def _message(response: "httpx.Response") -> str:
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
