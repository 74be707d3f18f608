"""The arguments of a run: `name=value` from a command line, typed and checked by what a compiled pipeline takes."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from polytask.errors import PolytaskError
from polytask.name_value import name_value


class ArgumentError(PolytaskError):
    """A parameter that the pipeline does not have, or a value of another type."""


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _of(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = json.loads(text)
        if not isinstance(value, kind):
            raise ValueError
        return value

    return read


# parameterType of the PipelineSpec: how a value is read, and what is allowed in words.
TYPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "STRING": (str, "any text"),
    "NUMBER_INTEGER": (int, "a whole number"),
    "NUMBER_DOUBLE": (float, "a number"),
    "BOOLEAN": (_boolean, "true or false"),
    "LIST": (_of(list), "a JSON list"),
    "STRUCT": (_of(dict), "a JSON object"),
}


def typed_arguments(given: Iterable[str], spec: Mapping[str, Any]) -> dict[str, Any]:
    """`name=value` texts as the arguments of the pipeline `spec`, a PipelineSpec as a mapping.

    Raises ArgumentError for an unknown or repeated key, a value of another type, and a parameter that has no default
    and is not given.
    """
    parameters = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    arguments: dict[str, Any] = {}
    for entry in given:
        name, text = name_value(entry, "name=value", lambda message: ArgumentError(f"--param: {message}"))
        if name not in parameters:
            raise ArgumentError(f"--param {name}: the pipeline has no such parameter; allowed: {', '.join(parameters)}")
        if name in arguments:
            raise ArgumentError(f"--param {name}: is given twice")
        read, allowed = TYPES[parameters[name]["parameterType"]]
        try:
            arguments[name] = read(text)
        except (ValueError, KeyError) as error:
            raise ArgumentError(f"--param {name}: {text!r}; allowed: {allowed}") from error
    missing = [name for name, one in parameters.items() if not one.get("isOptional") and name not in arguments]
    if missing:
        raise ArgumentError(f"--param {missing[0]}: is missing and has no default")
    return arguments
