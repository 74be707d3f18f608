"""The registry of task kinds, and the part of a kind that the scenario's schema needs.

A kind is an entry point of the group `polytask.task_kinds`: `name = "package.module:KIND"`. The built-in kinds are
defined in `polytask/tasks/`; another package adds a kind with an entry point of its own.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import AfterValidator, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError

from polytask.errors import ScenarioError

if TYPE_CHECKING:
    from polytask.scenario.schema import Scenario, Task

GROUP = "polytask.task_kinds"


class KindRules(Protocol):
    """The part of a kind that the schema reads; `polytask.tasks.kind.TaskKind` is the whole kind.

    Attributes:
        name: The value of `tasks[].kind`.
        summary: One sentence for the reference page: what a task of this kind predicts.
        catalogue: The catalogue from which its tasks retrieve, `items` or `users`; None without a catalogue.
        needs_classes: Whether its tasks name `classes`.
        reads_column: Whether its labels are a column, so that `label.source` and `label.column` are required.
        takes_threshold: Whether `label.at_least` is allowed.
        baselines: Names of the baselines that may be a task's gate.
    """

    name: str
    summary: str
    catalogue: str | None
    needs_classes: bool
    reads_column: bool
    takes_threshold: bool
    baselines: tuple[str, ...]

    def check_label(self, scenario: "Scenario", where: str, task: "Task") -> None:
        """Check the label of `task`, whose path in the file is `where`. Raises ValueError with the field."""


_registered: dict[str, KindRules] = {}


@cache
def _entry_points() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise ScenarioError(f"task kind {point.name!r} is defined twice: {other.value} and {point.value}")
    if not found:
        raise ScenarioError(f"no entry points {GROUP!r}: the installed package is out of date; run `make setup`")
    return found


@cache
def _loaded(name: str) -> KindRules:
    kind: KindRules = _entry_points()[name].load()
    return kind


def kind_names() -> tuple[str, ...]:
    """Return the names of all kinds, in alphabetical order. No kind is imported."""
    return tuple(sorted({*_entry_points(), *_registered}))


def kind_named(name: str) -> KindRules:
    """Return the kind `name`. Raises KeyError if there is none."""
    return _registered[name] if name in _registered else _loaded(name)


def kind_of(task: "Task") -> KindRules:
    """Return the kind of `task`."""
    return kind_named(task.kind)


def register_kind(kind: KindRules) -> None:
    """Add a kind to this process alone, or replace the one of its name; tests and notebooks use it."""
    _registered[kind.name] = kind


def unregister_kind(name: str) -> None:
    """Remove a kind that `register_kind` added."""
    _registered.pop(name, None)


def forget_entry_points() -> None:
    """Read the entry points again at the next use, after a package was installed or removed."""
    _entry_points.cache_clear()
    _loaded.cache_clear()


def quoted(names: tuple[str, ...]) -> str:
    """Return names as in an error: `'a', 'b' or 'c'`."""
    words = [repr(name) for name in names]
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def kinds_with(attribute: str) -> str:
    """Return the quoted names of the kinds for which `attribute` is true."""
    return quoted(tuple(name for name in kind_names() if getattr(kind_named(name), attribute)))


def _known(name: str) -> str:
    if name not in kind_names():
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": quoted(kind_names())})
    return name


class _KnownNames:
    """The names in the JSON Schema, read when the schema is written."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"type": "string", "enum": list(kind_names())}


KindName = Annotated[str, AfterValidator(_known), _KnownNames()]


def describe_kinds(schema: dict[str, Any]) -> None:
    """Append one sentence per kind to the description of the field `kind` in the JSON Schema."""
    sentences = [f"`{name}`: {kind_named(name).summary}" for name in kind_names()]
    schema["description"] = " ".join([schema["description"], *sentences])
