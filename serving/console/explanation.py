"""Explanations of the ranked predictions: the explainer's contributions, as bars around a zero line."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from polytask.client import Explanation, Ranked, ScoredLabel, TaskExplanation, explain
from polytask.client.explain import ItemContribution, WordsContribution
from polytask.contract.names import QUERY
from polytask.errors import PolytaskError
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Task, Text
from polytask.text.templates import value_words
from serving.console.directory import Directory
from serving.console.service import Trouble, question_of
from serving.console.state import View

DEADLINE_SECONDS = 5.0
SHOWN = 6


@dataclass(frozen=True)
class Reason:
    """An item of the history or a group of words. `start` and `share` of its bar are in percent of the whole width."""

    kind: str
    text: str
    contribution: str
    start: float
    share: float
    raises: bool


class ExplainerClient:
    """The explainer at `address`, its REST endpoint. Tests replace the client function that calls it."""

    def __init__(self, address: str, send_request: Callable[..., Explanation] = explain) -> None:
        self.address = address
        self._send_request = send_request

    def explain(self, view: View, directory: Directory) -> Explanation | Trouble:
        """Explain the predictions that the state names, and where `why` is on the first one of every other task."""
        try:
            requested = asdict(question_of(view, directory))
            user = requested.pop("user")
            details = {name: value for name, value in requested.items() if value}
            asked_tasks = [task for task in directory.scenario.tasks if not view.tasks or task.name in view.tasks]
            targets = {
                task.name: _key(directory, task, view.targets[task.name])
                for task in asked_tasks
                if task.name in view.targets
            }
            tasks = [task.name for task in asked_tasks if view.why or task.name in targets]
            return self._send_request(
                self.address,
                user,
                tasks=tasks,
                targets=targets,
                filters=directory.filters(view.filters) or None,
                deadline_seconds=DEADLINE_SECONDS,
                **details,
            )
        except PolytaskError as error:
            return Trouble(str(error), "The recommendations do not depend on it; see the explainer's log.")


def title(explanation: TaskExplanation) -> str:
    """What is explained, as the lists call it; '' for a number."""
    match explanation.answer:
        case Ranked(external, named, _):
            return named or str(external)
        case ScoredLabel(label, _):
            return label
        case _:
            return ""


def _key(directory: Directory, task: Task, text: str) -> int | str:
    """An entry's key as the recommender has it. Raises RequestError where the text cannot be one."""
    if task.catalogue is None:
        return text
    return directory.item_key(task.name, text) if task.catalogue == ITEMS else directory.user_key(text)


def reasons(explanation: TaskExplanation, text: Text) -> tuple[Reason, ...]:
    """The largest contributions, history and words together; a bar goes left where it lowers the score.

    Values of the profile and the context are labelled by their column, and shown as the text that the model reads.
    """
    parts: list[ItemContribution | WordsContribution] = [*explanation.history, *explanation.words]
    found = sorted(parts, key=lambda one: -abs(one.contribution))[:SHOWN]
    widest = max((abs(one.contribution) for one in found), default=0.0)
    return tuple(_reason(one, widest, text) for one in found if one.contribution)


def _reason(one: ItemContribution | WordsContribution, widest: float, text: Text) -> Reason:
    share = 50 * abs(one.contribution) / widest
    if isinstance(one, ItemContribution):
        kind, logged = "history", one.title or str(one.id)
    elif one.part == QUERY:
        kind, logged = QUERY, one.text
    else:
        kind, logged = str(one.name).replace("_", " "), value_words(text, str(one.name), one.text)
    number = f"{'≥ ' if one.at_least else ''}{one.contribution:+.2f}"
    raises = one.contribution > 0
    return Reason(kind, logged, number, 50.0 if raises else 50 - share, share, raises)
