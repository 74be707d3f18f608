"""Read a scenario file; one message reports every wrong field: its path, its value and the expected values."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from polytask.errors import ScenarioError
from polytask.scenario.descriptions import description_of, names_at
from polytask.scenario.renamed import new_field, new_value
from polytask.scenario.schema import Scenario, Section, Task
from polytask.scenario.section import NAME_PATTERN

Checked = TypeVar("Checked", bound=Section)

# A link to the folder at the top of the repository; in the wheel a folder of the package.
# Types of pydantic's errors -> what is expected, where its own words name types of Python.
PLAIN = {
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "too_short": "a list with at least {min_length} entries",
}

SCENARIOS = (Path(__file__).parents[1] / "scenarios").resolve()


def scenario_path(name_or_path: str) -> Path:
    """Return the path of a scenario file.

    Args:
        name_or_path: Name of a file in `scenarios/` without `.yaml`, or the path of a `.yaml` or `.yml` file.

    Returns:
        The path. A path that was given is returned as it is, whether there is such a file or not.

    Raises:
        ScenarioError: There is no scenario of this name.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        return Path(name_or_path)
    path = SCENARIOS / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in SCENARIOS.glob("*.yaml")))
        raise ScenarioError(f"scenario {name_or_path!r} is not known; allowed: {known}, or the path of a .yaml file")
    return path


def load_scenario(name_or_path: str | Path) -> Scenario:
    """Read and validate a scenario file.

    Args:
        name_or_path: Name of a file in `scenarios/` without `.yaml`, or the path of a file.

    Returns:
        The scenario, which is immutable.

    Raises:
        ScenarioError: The file is missing or not YAML, or fields are invalid. The message lists all invalid fields.

    Examples:
        >>> scenario = load_scenario("movielens")
        >>> [task.name for task in scenario.tasks]
    """
    path = scenario_path(str(name_or_path))
    return _checked(Scenario, _read(path), path)


def load_task(path: Path) -> Task:
    """Read and validate one task.

    Args:
        path: Path of a YAML file that holds a mapping, or a list of one mapping as in a scenario.

    Returns:
        The task.

    Raises:
        ScenarioError: The file is missing or not YAML, or fields are invalid.
    """
    return _task(_read(path), path)


def read_task(words: str) -> Task:
    """Read and validate one task that a parameter holds.

    Args:
        words: Path that ends with .yaml or .yml, or the YAML itself.

    Returns:
        The task.

    Raises:
        ScenarioError: The file is missing, the YAML cannot be parsed, or fields are invalid.
    """
    if words.strip().endswith((".yaml", ".yml")):
        return load_task(Path(words.strip()))
    return _task(_parsed(words, "task"), "task")


def _task(raw: object, where: object) -> Task:
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    return _checked(Task, raw, where)


def _read(path: Path) -> object:
    try:
        return _parsed(path.read_text(encoding="utf-8"), path)
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: is not YAML: {error}") from error


def _parsed(text: str, where: object) -> object:
    try:
        content: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{where}: is not YAML: {_in_one_line(error)}") from error
    return content


def _in_one_line(error: yaml.YAMLError) -> str:
    """The parser's error and its position in one line; its own message has several lines."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return " ".join(str(error).split())


def _checked(kind: type[Checked], raw: object, path: object) -> Checked:
    if not isinstance(raw, dict):
        raise ScenarioError(f"{path}: holds {type(raw).__name__}, allowed: a mapping that starts with `name:`")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise ScenarioError(f"{path}: {mistakes(error, kind)}") from error


def mistakes(error: ValidationError, kind: type[Section]) -> str:
    """Return all wrong fields of a part of a scenario, which `kind` validated, in one line."""
    return "; ".join(_line(detail, kind) + _meaning(detail, kind) for detail in error.errors(include_url=False))


def _meaning(detail: Any, kind: type[Section]) -> str:
    """The first sentence of the field's description; '' for an unknown field and for a check across fields."""
    if detail["type"] == "literal_error" and new_value(detail["loc"], detail["input"]) is not None:
        return ""  # it describes other values
    if detail["type"] == "extra_forbidden" or (isinstance(detail["input"], dict) and detail["type"] != "missing"):
        return ""
    sentence = description_of(kind, detail["loc"]).partition(". ")[0].removesuffix(".")
    return f" (meaning: {sentence})" if sentence else ""


def _line(detail: Any, kind: type[Section]) -> str:
    """Return `tasks.1.kind: invalid value 'retrival'; expected ...` for one error of pydantic."""
    field = ".".join(str(part) for part in detail["loc"])
    message: str = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        return f"{field}: missing; expected a value (the field is required)"
    if detail["type"] == "extra_forbidden":
        return f"{field}: unknown field with the value {_short(detail['input'])}; {_instead(detail['loc'], kind)}"
    if detail["type"] == "literal_error":
        renamed = new_value(detail["loc"], detail["input"])
        expected = detail["ctx"]["expected"] if renamed is None else f"{renamed!r}, its new name"
        return f"{field}: invalid value {_short(detail['input'])}; expected {expected}"
    if detail["type"] == "string_pattern_mismatch":
        return f"{field}: invalid value {_short(detail['input'])}; expected {_pattern(detail)}"
    if not field:  # a check across fields names its own path
        return message
    if isinstance(detail["input"], dict):
        return f"{field}: {message}"
    if plain := PLAIN.get(detail["type"]):
        expected = plain.format(**detail.get("ctx", {}))
    else:
        expected = message.removeprefix("Input should be ").removeprefix("allowed: ")
    if detail["type"] == "string_type" and isinstance(detail["input"], bool):
        expected += "; YAML reads yes, no, on and off as true or false, so put them in quotes"
    return f"{field}: invalid value {_short(detail['input'])}; expected {expected}"


def _pattern(detail: Any) -> str:
    """Return what a string that matches no pattern should be: a name, or a quantity."""
    pattern = detail["ctx"]["pattern"]
    if pattern != NAME_PATTERN:
        return f"a value of the form {pattern}"
    column = "columns" in detail["loc"] or "[key]" in detail["loc"]
    rename = "; rename the column in the table too" if column else ""
    return f"a name of small letters, digits and _ that starts with a letter ({pattern}){rename}"


def _instead(path: Sequence[int | str], kind: type[Section]) -> str:
    """Return the field to use in place of an unknown one: its new name, or the names that are allowed there."""
    if renamed := new_field(path):
        return f"it is now called `{renamed}`"
    names = names_at(kind, path[:-1])
    close = difflib.get_close_matches(str(path[-1]), names, n=1)
    return (f"did you mean `{close[0]}`? " if close else "") + f"allowed: {', '.join(names)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
