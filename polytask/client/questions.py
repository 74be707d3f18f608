"""The request to a recommender: one entry per user, and the options of the whole call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, cast


@dataclass(frozen=True)
class Question:
    """The request for one user. `timestamp` is in unix seconds, None for now; items run from oldest to newest.

    `exclude_items` are left out; `disliked_items` too, and the scores of items similar to them are lowered. `context`
    has the values of the scenario's `features.context`, such as {"weather": "rain"}.
    """

    user: int | str
    query: str | None = None
    timestamp: int | None = None
    recent_items: Sequence[int | str] = ()
    exclude_items: Sequence[int | str] = ()
    disliked_items: Sequence[int | str] = ()
    context: Mapping[str, str] = field(default_factory=dict)


class Options(TypedDict, total=False):
    """The options of a whole call.

    `tasks` None means all, `k` is the length of the lists. `slate` requests one merged list of that length;
    `task_weights` (1 for a task that is not named) then replaces the priorities that were learned for the user.
    `filters` are texts on the items' attributes that all have to hold: `genres=Horror|Comedy`, `year=1990..1999`.
    """

    tasks: Sequence[str] | None
    k: int | None
    slate: int | None
    task_weights: Mapping[str, float] | None
    filters: Sequence[str] | None


class Details(TypedDict, total=False):
    """The fields of a Question without its user."""

    query: str | None
    timestamp: int | None
    recent_items: Sequence[int | str]
    exclude_items: Sequence[int | str]
    disliked_items: Sequence[int | str]
    context: Mapping[str, str]


class RequestFields(Details, Options, total=False):
    """The arguments of a request for one user: details and options."""


def one_question(user: int | str, requested: RequestFields) -> tuple[Question, Options]:
    """Split the keyword arguments of a call about one user.

    Args:
        user: Key of the user.
        requested: Fields of a `Question` and of `Options`.

    Returns:
        The question, and the options of its call.

    Raises:
        TypeError: A name is neither a field nor an option.
    """
    given = dict(requested)
    options = cast(Options, {name: given.pop(name) for name in Options.__annotations__ if name in given})
    return Question(user, **cast(Details, given)), options
