"""Sends the request of the page's state to the recommender, and turns errors into messages with advice."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from polytask.client import Question, Recommendations, RecommenderClient, ServiceUnavailable
from polytask.errors import PolytaskError, RequestError
from serving.console.directory import Directory
from serving.console.state import View
from serving.transformer.api.slate import mergeable

DEADLINE_SECONDS = 3.0
SLATE_LENGTH = 10


class ConsoleService(Protocol):
    """Returns recommendations: the client, or in tests an object with fixed responses."""

    def recommend_many(
        self,
        questions: Sequence[Question],
        *,
        tasks: Sequence[str] | None = None,
        k: int | None = None,
        slate: int | None = None,
        task_weights: Mapping[str, float] | None = None,
        filters: Sequence[str] | None = None,
    ) -> list[Recommendations]:
        """The responses to some questions, in their order."""


@dataclass(frozen=True)
class Trouble:
    """Why there is no response, and what to do about it."""

    what: str
    advice: str


@dataclass(frozen=True)
class Reply:
    """A response, and the same user's without query or session, from one call that took `milliseconds` from here."""

    answer: Recommendations
    unasked: Recommendations
    milliseconds: float


class Service:
    """One recommender, at `address` (host:port of its gRPC endpoint). Safe to call from several threads."""

    def __init__(self, address: str, recommender: ConsoleService | None = None) -> None:
        self.address = address
        self._client = recommender or RecommenderClient(address, deadline_seconds=DEADLINE_SECONDS)

    def send_request(self, view: View, directory: Directory) -> Reply | Trouble:
        """The response to the state's request, with whole lists, so that the page can show an entry's former place."""
        try:
            question = question_of(view, directory)
            questions = [Question(question.user), question] if view.asks_more else [question]
            tasks = _requested(directory, view)
            began = time.monotonic()
            answers = self._client.recommend_many(
                questions,
                tasks=tasks,
                k=_longest_list(directory, tasks),
                slate=SLATE_LENGTH if mergeable(directory.scenario, tasks) else None,
                task_weights=_weights(directory, view),
                filters=directory.filters(view.filters) or None,
            )
            return Reply(answers[-1], answers[0], 1e3 * (time.monotonic() - began))
        except RequestError as error:
            return Trouble(str(error), "Change the field that is named, or start over.")
        except ServiceUnavailable as error:
            return Trouble(
                str(error),
                "Start the recommender with make serve, or name another with polytask console --url host:port. "
                "Its logs are in build/serve/.",
            )
        except PolytaskError as error:
            return Trouble(str(error), "The recommender's log has details; see build/serve/.")


def question_of(view: View, directory: Directory) -> Question:
    """The question about the state's user. Raises RequestError for a key or a title that cannot be one."""
    return Question(
        directory.user_key(view.user),
        query=view.query or None,
        recent_items=tuple(directory.item_key("recent", item) for item in view.recent),
        disliked_items=tuple(directory.item_key("less", item) for item in view.less),
        context=dict(view.context),
    )


def _requested(directory: Directory, view: View) -> list[str]:
    return [task.name for task in directory.scenario.tasks if not view.tasks or task.name in view.tasks]


def _longest_list(directory: Directory, tasks: Sequence[str]) -> int | None:
    """Return the length of the shortest list of the requested tasks, the limit of `k` for all of them."""
    kept = [task.top_k for task in directory.scenario.tasks if task.catalogue is not None and task.name in tasks]
    return min(kept, default=None)


def _weights(directory: Directory, view: View) -> dict[str, float] | None:
    """The chosen weights of the tasks that are merged; None, which means the user's own, where none is above 0."""
    merged = mergeable(directory.scenario, _requested(directory, view))
    weights = {task: weight for task, weight in view.weights.items() if task in merged}
    return weights if any(weights.values()) else None
