"""The arguments of a run: `--param name=value` of `polytask run` and `polytask submit`, typed and validated."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from polytask.errors import PolytaskError
from polytask.name_value import name_value
from polytask.renamed import PARAMETERS


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


def parse_parameters(given: Iterable[str], kinds: Mapping[str, str]) -> dict[str, Any]:
    """Parse `name=value` strings as arguments of a pipeline.

    Args:
        given: The values of `--param`.
        kinds: The pipeline's parameters: name -> parameterType of the PipelineSpec.

    Returns:
        Typed arguments by name.

    Raises:
        ArgumentError: A name is unknown or repeated, or a value has another type.
    """
    arguments: dict[str, Any] = {}
    for entry in given:
        name, text = name_value(entry, "name=value", lambda message: ArgumentError(f"--param: {message}"))
        if name not in kinds:
            new = PARAMETERS.get(name)
            if new in kinds:
                raise ArgumentError(f"--param {name}: this parameter was renamed; use {new}={text}")
            raise ArgumentError(f"--param {name}: unknown parameter; expected one of {', '.join(kinds)}")
        if name in arguments:
            raise ArgumentError(f"--param {name}: given twice; expected once")
        read, allowed = TYPES[kinds[name]]
        try:
            arguments[name] = read(text)
        except (ValueError, KeyError) as error:
            raise ArgumentError(f"--param {name}: invalid value {text!r}; expected {allowed}") from error
    return arguments


def typed_arguments(given: Iterable[str], spec: Mapping[str, Any]) -> dict[str, Any]:
    """Parse `name=value` strings as the arguments of the compiled pipeline `spec`, a PipelineSpec as a mapping.

    Raises:
        ArgumentError: See `parse_parameters`; or a parameter without a default is missing.
    """
    parameters = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    arguments = parse_parameters(given, {name: one["parameterType"] for name, one in parameters.items()})
    missing = [name for name, one in parameters.items() if not one.get("isOptional") and name not in arguments]
    if missing:
        raise ArgumentError(f"--param {missing[0]}: missing; it has no default")
    return arguments
