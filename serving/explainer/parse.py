"""From the JSON body of an `:explain` call to typed requests, checked by the transformer's own rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from polytask.contract.names import CONTEXT, FILTERS, INSTANCES, ITEM_LISTS, QUERY, TARGETS, TASKS, TIMESTAMP, USER_ID
from polytask.errors import RequestError
from polytask.scenario.names import ITEMS
from polytask.scenario.schema import Scenario, Task
from polytask.tasks.kind import kind_of
from serving.transformer.api.parse import KEY_BYTES, Call, CallParser, input_types
from serving.transformer.api.wire import InputTensor

MAX_INSTANCES = 8
BODY_FIELDS = (INSTANCES, TASKS)
FIELDS = (USER_ID, QUERY, TIMESTAMP, CONTEXT, *ITEM_LISTS, FILTERS)


@dataclass(frozen=True)
class Wanted:
    """A call about one user, and by task the prediction to explain: an id or a label; default: the first one."""

    call: Call
    targets: Mapping[str, int | str] = field(default_factory=dict)


def parse_body(scenario: Scenario, body: Any, now: int, key_bytes: int = KEY_BYTES) -> list[Wanted]:
    """What is wanted per instance. Raises RequestError with the instance and the field.

    `key_bytes` bounds each key that is a string, as UTF-8.
    """
    if not isinstance(body, Mapping):
        raise RequestError("request body", "allowed: a JSON object with instances")
    for name in body:
        if name not in BODY_FIELDS:
            raise RequestError(str(name), f"is not a known field, allowed: {', '.join(BODY_FIELDS)}")
    instances = body.get(INSTANCES)
    if not isinstance(instances, list) or not 1 <= len(instances) <= MAX_INSTANCES:
        raise RequestError(INSTANCES, f"allowed: a list of 1 to {MAX_INSTANCES} objects")
    tasks = []
    if TASKS in body:
        if not isinstance(body[TASKS], list):
            raise RequestError(TASKS, "allowed: a list of names")
        tasks = [InputTensor(TASKS, "BYTES", [len(body[TASKS])], body[TASKS])]
    calls, parser = [], CallParser(scenario, key_bytes)
    for place, instance in enumerate(instances):
        try:
            call = parser.parse([*_tensors(scenario, instance), *tasks], (), now)
            calls.append(Wanted(call, _targets(scenario, instance.get(TARGETS), call.tasks)))
        except RequestError as error:
            if error.field == TASKS:
                raise
            field = ".".join(filter(None, (f"{INSTANCES}[{place}]", error.field)))
            raise RequestError(field, str(error).removeprefix(f"{error.field}: ")) from error
    return calls


def _tensors(scenario: Scenario, instance: Any) -> list[InputTensor]:
    if not isinstance(instance, Mapping):
        raise RequestError("", "allowed: an object")
    known = {name: kind for name, kind in input_types(scenario).items() if name in FIELDS}
    tensors = []
    for name, value in instance.items():
        if name not in known and name != TARGETS:
            raise RequestError(str(name), f"is not a known field, allowed: {', '.join([*known, TARGETS])}")
        if value is None or name == TARGETS:
            continue
        datatype, shape = known[name]
        if name == CONTEXT:
            if not isinstance(value, Mapping):
                raise RequestError(CONTEXT, "allowed: an object of texts")
            value = [f"{word}={text}" for word, text in value.items()]
        elif shape[-1] == -1 and not isinstance(value, list):
            raise RequestError(name, f"allowed: a list of {'texts' if name == FILTERS else 'ids'}")
        elif shape[-1] == 1:
            value = [value]
        if any(isinstance(one, (list, Mapping)) for one in value):
            raise RequestError(name, "holds a list or an object, allowed: numbers or texts")
        tensors.append(InputTensor(name, datatype, [*[1] * (len(shape) - 1), len(value)], value))
    return tensors


def _targets(scenario: Scenario, value: Any, tasks: Sequence[str]) -> dict[str, int | str]:
    """The predictions to explain. Whether a list holds its target is checked when the list is known."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise RequestError(TARGETS, "allowed: an object, task to id or label")
    for name, target in value.items():
        place = f"{TARGETS}.{name}"
        if name not in tasks:
            raise RequestError(place, f"is no task of this call, allowed: {', '.join(tasks)}")
        allowed = _allowed(scenario, scenario.task(name), target)
        if allowed is not None:
            raise RequestError(place, f"{target!r}, allowed: {allowed}")
    return dict(value)


def _allowed(scenario: Scenario, task: Task, target: Any) -> str | None:
    """Return what is allowed in place of a target, None for a valid target."""
    if task.catalogue is not None:
        table = scenario.items if task.catalogue == ITEMS else scenario.entities.users
        integer = table.key_type == "integer"
        fits = isinstance(target, int if integer else str) and not isinstance(target, bool)
        return None if fits else f"a key that the list holds, a {'whole number' if integer else 'text'}"
    if kind_of(task).listed_output is None or task.classes is None:
        return "nothing: the task has one prediction"
    return None if target in task.classes else ", ".join(task.classes)
