"""What the page shows, all of it in the address: a link is the whole state, and every control is a change of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from serving.transformer.api.parse import MAX_CONTEXT_CHARACTERS, MAX_QUERY_CHARACTERS

WEIGHT, CONTEXT, WHY = "weight.", "context.", "why."
MAX_FIELD_CHARACTERS = 200
MAX_ITEMS = 100


@dataclass(frozen=True)
class View:
    """The state of the page. Keys of users and items are texts as typed; `tasks` and `weights` empty mean all, learned.

    `recent` items run from oldest to newest. `context` has context features, such as the weather. `filters` holds the
    values of the fields for attributes of items, by their names. `compare` sends the same request to a second
    recommender. `why` requests explanations of the first entries, `targets` of others, by task.
    """

    user: str = ""
    query: str = ""
    recent: tuple[str, ...] = ()
    less: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    compare: bool = False
    why: bool = False
    filters: Mapping[str, str] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)

    @property
    def asks_more(self) -> bool:
        """Whether the request has more than the user: a query, a session, disliked items or context features."""
        return bool(self.query or self.recent or self.less or self.context)

    def url(self, **changes: Any) -> str:
        """The address of this state with some fields changed; what is as by default is left out."""
        view = replace(self, **changes)
        pairs: list[tuple[str, str]] = [("user", view.user)] if view.user else []
        pairs += [("query", view.query)] if view.query else []
        pairs += [("recent", item) for item in view.recent] + [("less", item) for item in view.less]
        pairs += [("task", task) for task in view.tasks]
        pairs += [(WEIGHT + task, f"{weight:g}") for task, weight in view.weights.items()]
        pairs += [(CONTEXT + name, word) for name, word in view.context.items()]
        pairs += [("compare", "on")] if view.compare else []
        pairs += [("why", "on")] if view.why else []
        pairs += list(view.filters.items()) + [(WHY + task, key) for task, key in view.targets.items()]
        return "/?" + urlencode(pairs) if pairs else "/"

    def without(self, name: str, value: str) -> str:
        """The address with one entry of `recent` or `less` taken out."""
        return self.url(**{name: tuple(entry for entry in getattr(self, name) if entry != value)}, targets={})

    def with_(self, name: str, value: str) -> str:
        """The address with one entry of `recent` or `less` added last; the entry occurs once."""
        kept = tuple(entry for entry in getattr(self, name) if entry != value)
        return self.url(**{name: (*kept, value)}, targets={})

    def why_of(self, task: str, key: str) -> str:
        """The address that explains one entry of a task too."""
        return self.url(targets={**self.targets, task: key})


def read_view(
    pairs: Iterable[tuple[str, str]], tasks: Sequence[str], words: Sequence[str] = (), fields: Sequence[str] = ()
) -> View:
    """The state that an address holds. Values that no control of the page can produce are ignored.

    `tasks` and `words` (its `features.context`) are the scenario's, `fields` those for attributes of items; all tasks
    ticked is the same as none named.
    """
    single: dict[str, str] = {}
    lists: dict[str, dict[str, None]] = {"recent": {}, "less": {}, "task": {}}
    weights: dict[str, float] = {}
    for name, value in pairs:
        value = value.strip()
        if name in lists and value and len(lists[name]) < MAX_ITEMS:
            lists[name][value] = None
        elif name.startswith(WEIGHT) and name.removeprefix(WEIGHT) in tasks:
            weight = _weight(value)
            if weight is not None:
                weights[name.removeprefix(WEIGHT)] = weight
        else:
            single[name] = value
    wanted = tuple(task for task in tasks if task in lists["task"])
    return View(
        user=single.get("user", ""),
        query=" ".join(single.get("query", "").split())[:MAX_QUERY_CHARACTERS],
        recent=tuple(lists["recent"]),
        less=tuple(lists["less"]),
        tasks=() if len(wanted) == len(tasks) else wanted,
        context={name: single[CONTEXT + name][:MAX_CONTEXT_CHARACTERS] for name in words if single.get(CONTEXT + name)},
        weights={task: weights[task] for task in tasks if task in weights} if any(weights.values()) else {},
        compare=bool(single.get("compare")),
        why=bool(single.get("why")),
        filters={name: single[name][:MAX_FIELD_CHARACTERS] for name in fields if single.get(name)},
        targets={task: single[WHY + task][:MAX_FIELD_CHARACTERS] for task in tasks if single.get(WHY + task)},
    )


def _weight(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if 0 <= weight <= 1 else None
