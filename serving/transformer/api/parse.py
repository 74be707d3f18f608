"""From the tensors of one call to typed requests. Every field is checked here, so that nothing bad reaches Triton."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from polytask.contract.names import (
    CONTEXT,
    COUNT,
    DISLIKED_ITEMS,
    EXCLUDE_ITEMS,
    FILTERS,
    QUERY,
    RECENT_ITEMS,
    SLATE,
    TASK_WEIGHTS,
    TASKS,
    TIMESTAMP,
    USER_ID,
)
from polytask.errors import RequestError
from polytask.name_value import name_value
from polytask.scenario.schema import Scenario
from serving.transformer.api.answers import SLATE_TYPES, response_names
from serving.transformer.api.filters import MAX_FILTER_CHARACTERS, MAX_FILTERS, filterable
from serving.transformer.api.input_reader import InputReader
from serving.transformer.api.slate import mergeable
from serving.transformer.api.wire import InputTensor, key_datatype

KEY_BYTES = 256  # of a user's or an item's key that is a string, as UTF-8; by default
MAX_QUERY_CHARACTERS = 2000
MAX_CONTEXT_CHARACTERS = 200
DEFAULT_COUNT = 10
MAX_SLATE = 100
MAX_WEIGHT = 1e6
LATEST = 253_402_214_399  # a day before the end of the year 9999, where datetime ends: no zone is a day from UTC


@dataclass(frozen=True)
class Request:
    """One row of a call. `timestamp` is in unix seconds; items run from oldest to newest; `count` is the wanted k.

    `exclude_items` are left out of the lists; `disliked_items` too, and what is like them is lowered. `context` holds
    words of `features.context`, such as the weather.
    """

    user_id: int | str
    timestamp: int
    query: str | None = None
    recent_items: tuple[int | str, ...] = ()
    exclude_items: tuple[int | str, ...] = ()
    disliked_items: tuple[int | str, ...] = ()
    count: int = DEFAULT_COUNT
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Slate:
    """One list over `tasks` is wanted, of some size per row (B,); `weights` (k,) replace the users' own priorities."""

    tasks: tuple[str, ...]
    sizes: tuple[int, ...]
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Call:
    """A whole call: its rows, the wanted tasks, and the names of the tensors to return, in that order.

    `filters` are about the items of all rows; `ItemFilters` reads them.
    """

    requests: tuple[Request, ...]
    tasks: tuple[str, ...]
    outputs: tuple[str, ...] = field(default=())
    slate: Slate | None = None
    filters: tuple[str, ...] = ()


def input_types(scenario: Scenario) -> dict[str, tuple[str, list[int]]]:
    """Name -> (datatype, shape) of every input; -1 is a size that the caller chooses, the first is the batch.

    A scenario without items takes no items.
    """
    types: dict[str, tuple[str, list[int]]] = {
        USER_ID: (key_datatype(scenario.entities.users), [-1, 1]),
        QUERY: ("BYTES", [-1, 1]),
        TIMESTAMP: ("INT64", [-1, 1]),
    }
    if scenario.features.context:
        types[CONTEXT] = ("BYTES", [-1, -1])
    if scenario.has_items:
        types[RECENT_ITEMS] = types[EXCLUDE_ITEMS] = (key_datatype(scenario.items), [-1, -1])
    if scenario.takes_disliked_items:
        types[DISLIKED_ITEMS] = (key_datatype(scenario.items), [-1, -1])
    if filterable(scenario):
        types[FILTERS] = ("BYTES", [-1])
    types |= {COUNT: ("INT64", [-1, 1]), TASKS: ("BYTES", [-1])}
    return {**types, SLATE: ("INT64", [-1, 1]), TASK_WEIGHTS: ("BYTES", [-1])}


class CallParser:
    """Reads the calls of one scenario."""

    def __init__(self, scenario: Scenario, key_bytes: int = KEY_BYTES) -> None:
        """`key_bytes` bounds each key that is a string, as UTF-8."""
        self._scenario = scenario
        self._key_bytes = key_bytes
        self._inputs = input_types(scenario)
        self._tasks = tuple(task.name for task in scenario.tasks)
        # Which task an output belongs to, None for the flags; and how long a list each task can give.
        self._owners = response_names(scenario)
        self._longest = {task.name: task.top_k for task in scenario.tasks if task.catalogue is not None}

    def parse(self, tensors: Sequence[InputTensor], outputs: Sequence[str], now: int) -> Call:
        """Check and read one call. `outputs` are the requested tensors, empty for all; `now` is in unix seconds.

        Raises RequestError with the name of the field.
        """
        scenario, known = self._scenario, self._inputs
        by_name: dict[str, InputTensor] = {}
        for tensor in tensors:
            if tensor.name not in known:
                raise RequestError(tensor.name[:60], f"is not a known input, allowed: {', '.join(known)}")
            if tensor.name in by_name:
                raise RequestError(tensor.name, "is given twice, allowed: once")
            by_name[tensor.name] = tensor
        if USER_ID not in by_name:
            raise RequestError(USER_ID, "is missing, the field is required")
        read = InputReader(known, by_name, self._key_bytes)
        users = read.column(USER_ID)
        tasks, names = self._wanted(read.names(TASKS, len(self._tasks)), outputs)
        slate = _slate(scenario, tasks, read, names)
        if slate is not None and not outputs:
            names += tuple(SLATE_TYPES)
        queries = read.column(QUERY, _query) or [None] * len(users)
        moments = read.column(TIMESTAMP, _moment) or [now] * len(users)
        recent = read.table(RECENT_ITEMS, scenario.features.history_length) or [()] * len(users)
        exclude = read.table(EXCLUDE_ITEMS, scenario.features.exclude_length) or [()] * len(users)
        disliked = read.table(DISLIKED_ITEMS, scenario.features.disliked_length) or [()] * len(users)
        counts = self._counts(tasks, read)
        texts = read.table(CONTEXT, len(scenario.features.context)) or [()] * len(users)
        contexts = [_context(scenario, row) for row in texts]
        requests = []
        for row in zip(users, moments, queries, recent, exclude, disliked, counts, contexts, strict=True):
            request = Request(*row)
            together = len(request.recent_items) + len(request.exclude_items)
            if together > scenario.features.exclude_length:
                raise RequestError(
                    EXCLUDE_ITEMS,
                    f"{together} items together with {RECENT_ITEMS}, "
                    f"allowed: at most {scenario.features.exclude_length}",
                )
            requests.append(request)
        return Call(tuple(requests), tasks, names, slate, _filters(read))

    def _wanted(self, tasks: list[str] | None, outputs: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The wanted tasks and the names of the tensors to return."""
        every, owners = self._tasks, self._owners
        for name in tasks or ():
            if name not in every:
                raise RequestError(TASKS, f"{name[:60]!r} is not a task, allowed: {', '.join(every)}")
        if tasks is not None and len(set(tasks)) < len(tasks):
            twice = next(name for name in tasks if tasks.count(name) > 1)
            raise RequestError(TASKS, f"{twice!r} is given more than once, allowed: once")
        if tasks is not None and outputs:
            raise RequestError(TASKS, "is given together with requested outputs, allowed: one of the two")
        if tasks is not None and not tasks:
            raise RequestError(TASKS, f"is empty, allowed: {', '.join(every)}")
        chosen = tuple(name for name in every if tasks is None or name in tasks)
        if not outputs:
            return chosen, tuple(name for name, task in owners.items() if task is None or task in chosen)
        for name in outputs:
            if name not in owners and name not in SLATE_TYPES:
                raise RequestError(name[:60], f"is not an output, allowed: {', '.join([*owners, *SLATE_TYPES])}")
        wanted = {owners[name] for name in outputs if name in owners}
        if SLATE_TYPES.keys() & set(outputs):
            wanted |= set(mergeable(self._scenario, every))
        return tuple(name for name in every if name in wanted), tuple(dict.fromkeys(outputs))

    def _counts(self, tasks: tuple[str, ...], read: InputReader) -> list[int]:
        limit = min([self._longest[name] for name in tasks if name in self._longest], default=1000)
        return read.sizes(COUNT, limit) or [min(DEFAULT_COUNT, limit)] * read.batch


def _query(value: str) -> str | None:
    if len(value) > MAX_QUERY_CHARACTERS:
        raise RequestError(QUERY, f"{len(value)} characters, allowed: at most {MAX_QUERY_CHARACTERS}")
    return value if value.strip() else None


def _context(scenario: Scenario, texts: Sequence[str]) -> dict[str, str]:
    """'name=value' texts -> name -> value. An empty text is padding."""
    words: dict[str, str] = {}
    for text in filter(None, texts):
        allowed = ", ".join(f"{word}=text" for word in scenario.features.context)
        name, value = name_value(text, allowed, partial(RequestError, CONTEXT))
        if name not in scenario.features.context:
            raise RequestError(CONTEXT, f"{text[:60]!r}, allowed: {allowed}")
        if name in words:
            raise RequestError(CONTEXT, f"{name!r} is given twice, allowed: once")
        if len(value) > MAX_CONTEXT_CHARACTERS:
            raise RequestError(CONTEXT, f"{name}: {len(value)} characters, allowed: at most {MAX_CONTEXT_CHARACTERS}")
        words[name] = value
    return words


def _moment(value: int) -> int:
    if not 0 <= value <= LATEST:
        raise RequestError(TIMESTAMP, f"{value}, allowed: unix seconds from 0 to {LATEST}")
    return value


def _filters(read: InputReader) -> tuple[str, ...]:
    shape = read.shape(FILTERS)
    if shape is None:
        return ()
    if len(shape) != 1 or not 1 <= shape[0] <= MAX_FILTERS:
        raise RequestError(FILTERS, f"shape {shape}, allowed: [n] with n from 1 to {MAX_FILTERS}")
    filters = tuple(read.values(FILTERS) or ())
    longest = max(map(len, filters))
    if longest > MAX_FILTER_CHARACTERS:
        raise RequestError(FILTERS, f"{longest} characters, at most {MAX_FILTER_CHARACTERS}")
    return filters


def _slate(scenario: Scenario, tasks: tuple[str, ...], read: InputReader, outputs: Sequence[str]) -> Slate | None:
    sizes, weights = read.sizes(SLATE, MAX_SLATE), read.names(TASK_WEIGHTS, len(scenario.tasks))
    if not sizes:
        if not SLATE_TYPES.keys() & set(outputs):
            if weights is not None:
                raise RequestError(TASK_WEIGHTS, f"is given without {SLATE}, allowed: together")
            return None
        sizes = [DEFAULT_COUNT] * read.batch
    merged = mergeable(scenario, tasks)
    if not merged:
        possible = mergeable(scenario, [task.name for task in scenario.tasks])
        raise RequestError(
            SLATE, f"no wanted task has entries to merge, allowed: one of {', '.join(possible) or 'no task'}"
        )
    return Slate(merged, tuple(sizes), None if weights is None else _weights(merged, weights))


def _weights(tasks: tuple[str, ...], values: list[str]) -> tuple[float, ...]:
    """'task=weight' texts -> a weight per task; a task that is not named has weight 1."""
    weights: dict[str, float] = {}
    expected = ", ".join(f"{task}=number" for task in tasks)
    for value in values:
        name, number = name_value(value, expected, partial(RequestError, TASK_WEIGHTS))
        if name not in tasks:
            raise RequestError(TASK_WEIGHTS, f"{name[:60]!r} is not a task of the slate, allowed: {', '.join(tasks)}")
        if name in weights:
            raise RequestError(TASK_WEIGHTS, f"{name!r} is given twice, allowed: once")
        try:
            weights[name] = float(number)
        except ValueError:
            weights[name] = math.nan
        if not 0 <= weights[name] <= MAX_WEIGHT:
            raise RequestError(TASK_WEIGHTS, f"{value[:60]!r}, allowed: {name}=number, from 0 to {MAX_WEIGHT:g}")
    chosen = tuple(weights.get(name, 1.0) for name in tasks)
    if not any(chosen):
        raise RequestError(TASK_WEIGHTS, "all are 0, allowed: one above 0")
    return chosen
