"""From responses to what the page shows: rows with bars and moves, one list per task, the merged slate, stages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from polytask.client import Entry, Ranked, Recommendations, ScoredLabel, Value
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Task
from polytask.tasks.kind import kind_of
from serving.console.directory import Directory
from serving.console.service import Reply
from serving.console.state import View

SHOWN = 10
# Names that the page shows for the stages of the response parameters.
STAGES = {"features": "features", "text": "text encoder", "predictor": "task model", "post": "response"}


@dataclass(frozen=True)
class Move:
    """How far an entry moved, as a sign to see and words to hear; `kind` is up, down, same or new."""

    kind: str
    sign: str
    words: str


@dataclass(frozen=True)
class Row:
    """An entry of a list. `share` of the bar is in percent; `item` is its key where the item can be disliked.

    The last field names the task and the entry whose explanation can be requested.
    """

    place: int
    key: str
    title: str
    about: str
    score: str
    share: float
    task: str = ""
    item: str | None = None
    move: Move | None = None
    requests: tuple[str, str] | None = None


@dataclass(frozen=True)
class Listing:
    """The predictions of a task: rows, or one number of `bounds` where the scenario knows them."""

    rows: tuple[Row, ...] = ()
    number: str = ""
    share: float | None = None


@dataclass(frozen=True)
class TaskView:
    """A task's place on the page. `other` holds the predictions of the second recommender, where there is one."""

    name: str
    title: str
    lists_items: bool
    listing: Listing
    other: Listing | None = None


@dataclass(frozen=True)
class Stage:
    """A stretch of a call in milliseconds; `start` and `share` of the bar are in percent."""

    name: str
    milliseconds: float
    start: float
    share: float


def task_views(directory: Directory, view: View, reply: Reply, other: Reply | None) -> list[TaskView]:
    """One view per task. Moves are counted from the lists without a query, or between the two recommenders."""
    views = []
    for name, entries in reply.answer.tasks.items():
        task = directory.scenario.task(name)
        before = reply.unasked.tasks.get(name, ()) if view.asks_more else None
        first = _listing(directory, task, entries, before, name)
        second = None
        if other is not None and name in other.answer.tasks:
            second = _listing(directory, task, other.answer.tasks[name], entries, f"other-{name}")
        views.append(TaskView(name, task.title, task.catalogue == ITEMS, first, second))
    return views


def slate_rows(directory: Directory, answer: Recommendations) -> list[Row]:
    """The merged list; its bars are shares of the best."""
    best = max((entry.score for entry in answer.slate), default=0.0)
    rows = []
    for place, entry in enumerate(answer.slate, start=1):
        task = directory.scenario.task(entry.task)
        is_item = task.catalogue == ITEMS
        about = directory.item(_typed(directory, entry.id)).about if is_item else ""
        share = 100 * entry.score / best if best > 0 else 0.0
        rows.append(
            Row(
                place,
                f"slate-{entry.task}-{entry.id}",
                entry.title or entry.id,
                about,
                f"{entry.score:.2f}",
                share,
                task.title,
                entry.id if is_item else None,
                requests=(entry.task, entry.id),
            )
        )
    return rows


def stages(reply: Reply) -> list[Stage]:
    """The call's milliseconds by stage, and as the last one what is left: network, queues and the client."""
    timings = reply.answer.timings
    parts = {words: timings[name] for name, words in STAGES.items() if name in timings}
    if not parts:
        return []
    parts["network and waiting"] = max(0.0, reply.milliseconds - sum(parts.values()))
    total = max(sum(parts.values()), 1e-9)
    ends = list(accumulate(parts.values(), initial=0.0))
    return [
        Stage(name, milliseconds, 100 * start / total, 100 * milliseconds / total)
        for (name, milliseconds), start in zip(parts.items(), ends, strict=False)
    ]


def sliders(directory: Directory, view: View, reply: Reply | None) -> list[dict[str, Any]]:
    """A control per task: whether it is requested, and where it can be merged its weight (default: learned)."""
    learned: Mapping[str, float] = reply.answer.priority if reply is not None else {}
    return [
        {
            "name": task.name,
            "title": task.title,
            "on": not view.tasks or task.name in view.tasks,
            "merges": kind_of(task).merges,
            "weight": round(view.weights.get(task.name, learned.get(task.name, 0.0)), 2),
        }
        for task in directory.scenario.tasks
    ]


def _listing(
    directory: Directory, task: Task, entries: Sequence[Entry], before: Sequence[Entry] | None, prefix: str
) -> Listing:
    if len(entries) == 1 and _is_number(task, entries[0]):
        return _number(directory, task, entries[0])
    places = None if before is None else {_key(entry): place for place, entry in enumerate(before, start=1)}
    rows = []
    for place, entry in enumerate(entries[:SHOWN], start=1):
        key = _key(entry)
        item = key if task.catalogue == ITEMS else None
        thing = directory.item(entry.id) if isinstance(entry, Ranked) and item is not None else None
        title = (entry.title or key) if isinstance(entry, Ranked) else key
        rows.append(
            Row(
                place,
                f"{prefix}-{key}",
                title,
                thing.about if thing is not None else (f"user {key}" if isinstance(entry, Ranked) else ""),
                f"{_score(entry):.2f}",
                100 * strength(task, entry, entries[0]),
                item=item,
                move=None if places is None else _move(place, places.get(key), len(places)),
                requests=(task.name, key) if prefix == task.name else None,
            )
        )
    return Listing(tuple(rows))


def strength(task: Task, entry: Entry, best: Entry) -> float:
    """Return the probability of an entry relative to the best of its list, 0 to 1, as a slate does."""
    return float(kind_of(task).strengths(np.array([_score(best), min(_score(entry), _score(best))]))[1])


def _is_number(task: Task, entry: Entry) -> bool:
    return isinstance(entry, Value) or kind_of(task).listed_output is None


def _number(directory: Directory, task: Task, entry: Entry) -> Listing:
    kind, value = kind_of(task), _score(entry)
    low, high = kind.bounds(directory.scenario, task)
    share = None
    if low is not None and high is not None and high > low:
        share = 100 * max(0.0, min(1.0, (value - low) / (high - low)))
    return Listing(number=kind.shown(value), share=share)


def _move(place: int, before: int | None, known: int) -> Move:
    if before is None:
        return Move("new", "new", f"new, was not among the first {known}")
    steps = before - place
    if steps == 0:
        return Move("same", "=", "same place")
    sign, kind = ("▲", "up") if steps > 0 else ("▼", "down")
    return Move(kind, f"{sign} {abs(steps)}", f"{kind} {abs(steps)}, was {before}")


def _key(entry: Entry) -> str:
    match entry:
        case Ranked(external, _, _):
            return str(external)
        case ScoredLabel(label, _):
            return label
        case _:
            return ""


def _score(entry: Entry) -> float:
    return entry.value if isinstance(entry, Value) else entry.score


def _typed(directory: Directory, key: str) -> int | str:
    """A slate's ids are texts, whatever the tables have."""
    return int(key) if directory.scenario.items.key_type == "integer" else key
