"""From the JSON body of an `:explain` call to typed requests, checked by the transformer's own rules."""

from collections.abc import Mapping
from typing import Any

from polytask.errors import RequestError
from polytask.scenario.schema import Scenario
from serving.transformer.parse import (
    CONTEXT,
    EXCLUDE_ITEMS,
    NEGATIVE_ITEMS,
    QUERY,
    RECENT_ITEMS,
    TASKS,
    TIMESTAMP,
    USER_ID,
    Call,
    input_types,
    parse_call,
)
from serving.transformer.wire import InputTensor

MAX_INSTANCES = 8
BODY_FIELDS = ("instances", TASKS)
FIELDS = (USER_ID, QUERY, TIMESTAMP, CONTEXT, RECENT_ITEMS, EXCLUDE_ITEMS, NEGATIVE_ITEMS)


def parse_body(scenario: Scenario, body: Any, now: int) -> list[Call]:
    """One call per instance. Raises RequestError with the instance and the field."""
    if not isinstance(body, Mapping):
        raise RequestError("request body", "allowed: a JSON object with instances")
    for name in body:
        if name not in BODY_FIELDS:
            raise RequestError(str(name), f"is not a known field, allowed: {', '.join(BODY_FIELDS)}")
    instances = body.get("instances")
    if not isinstance(instances, list) or not 1 <= len(instances) <= MAX_INSTANCES:
        raise RequestError("instances", f"allowed: a list of 1 to {MAX_INSTANCES} objects")
    tasks = []
    if TASKS in body:
        if not isinstance(body[TASKS], list):
            raise RequestError(TASKS, "allowed: a list of names")
        tasks = [InputTensor(TASKS, "BYTES", [len(body[TASKS])], body[TASKS])]
    calls = []
    for place, instance in enumerate(instances):
        try:
            calls.append(parse_call(scenario, [*_tensors(scenario, instance), *tasks], (), now))
        except RequestError as error:
            if error.field == TASKS:
                raise
            field = ".".join(filter(None, (f"instances[{place}]", error.field)))
            raise RequestError(field, str(error).removeprefix(f"{error.field}: ")) from error
    return calls


def _tensors(scenario: Scenario, instance: Any) -> list[InputTensor]:
    if not isinstance(instance, Mapping):
        raise RequestError("", "allowed: an object")
    known = {name: kind for name, kind in input_types(scenario).items() if name in FIELDS}
    tensors = []
    for name, value in instance.items():
        if name not in known:
            raise RequestError(str(name), f"is not a known field, allowed: {', '.join(known)}")
        if value is None:
            continue
        datatype, shape = known[name]
        if name == CONTEXT:
            if not isinstance(value, Mapping):
                raise RequestError(CONTEXT, "allowed: an object of texts")
            value = [f"{word}={text}" for word, text in value.items()]
        elif shape[1] == -1 and not isinstance(value, list):
            raise RequestError(name, "allowed: a list of ids")
        elif shape[1] == 1:
            value = [value]
        if any(isinstance(one, (list, Mapping)) for one in value):
            raise RequestError(name, "holds a list or an object, allowed: numbers or texts")
        tensors.append(InputTensor(name, datatype, [1, len(value)], value))
    return tensors
