"""What a recommender is asked: questions about users, and what holds for the whole call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict, cast


@dataclass(frozen=True)
class Question:
    """What is asked about one user. `timestamp` is in unix seconds, None for now; items run from oldest to newest.

    `exclude_items` are left out; `disliked_items` too, and what is like them is lowered: "less of this". `context`
    says what the scenario's `features.context` asks for, such as {"weather": "rain"}.
    """

    user: int | str
    query: str | None = None
    timestamp: int | None = None
    recent_items: Sequence[int | str] = ()
    exclude_items: Sequence[int | str] = ()
    disliked_items: Sequence[int | str] = ()
    context: Mapping[str, str] = field(default_factory=dict)


class Options(TypedDict, total=False):
    """What holds for a whole call.

    `tasks` None means all, `k` is the length of the lists. `slate` asks for one merged list of that length;
    `task_weights` (1 for a task that is not named) then replaces the priorities that were learned for the user.
    `filters` are texts on the items' attributes that all have to hold: `genres=Horror|Comedy`, `year=1990..1999`.
    """

    tasks: Sequence[str] | None
    k: int | None
    slate: int | None
    task_weights: Mapping[str, float] | None
    filters: Sequence[str] | None


class Details(TypedDict, total=False):
    """The fields of a Question beside its user."""

    query: str | None
    timestamp: int | None
    recent_items: Sequence[int | str]
    exclude_items: Sequence[int | str]
    disliked_items: Sequence[int | str]
    context: Mapping[str, str]


class Asked(Details, Options, total=False):
    """What may be asked about one user: details and options."""


def one_question(user: int | str, asked: Asked) -> tuple[Question, Options]:
    """Split the keyword arguments of a call about one user.

    Args:
        user: Key of the user.
        asked: Fields of a `Question` and of `Options`.

    Returns:
        The question, and the options of its call.

    Raises:
        TypeError: A name is neither a field nor an option.
    """
    given = dict(asked)
    options = cast(Options, {name: given.pop(name) for name in Options.__annotations__ if name in given})
    return Question(user, **cast(Details, given)), options
