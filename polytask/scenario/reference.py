"""The reference page of the scenario file, docs/scenario-file.md, generated from the models that validate it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from polytask.presentation.markdown_table import table
from polytask.scenario.json_schema import scenario_json_schema

INTRODUCTION = """# The scenario file

This page lists every field of `scenarios/<name>.yaml`. It is generated from the code that validates the file.

- `<name>` is a name that you choose: lower-case letters, digits and `_`, with a letter first.
- An unknown field is an error.
- *Example* is a valid value. It is not the default.
- [Your own data](own-data.md) is a step-by-step guide. `polytask check` validates a file and its tables.
- Editors with a YAML language server complete and validate the file if its first line is
  `# yaml-language-server: $schema=scenario.schema.json`, as in `scenarios/`."""
NAME = "^[a-z][a-z0-9_]*$"
Schema = Mapping[str, Any]


def scenario_reference() -> str:
    """Return the page: one part per section of the file, in the order of the file."""
    schema = scenario_json_schema()
    sections = list(_sections(schema))
    paths = {name: path for path, name, _ in sections}
    lines = [INTRODUCTION]
    for path, _, section in sections:
        lines += ["", f"## `{path}`" if path else "## The whole", "", _prose(section["description"])]
        required = section.get("required", ())
        lines += table(
            ("Field", "Meaning", "Allowed", "Default", "Example"),
            [
                (
                    f"`{name}`",
                    _prose(_description(field, schema)),
                    _allowed(field, paths),
                    "required" if name in required else _default(field),
                    ", ".join(_yaml(example) for example in field["examples"]),
                )
                for name, field in section["properties"].items()
            ],
        )
    return "\n".join(lines) + "\n"


def _sections(schema: Schema) -> Iterator[tuple[str, str, Schema]]:
    """Path, name and schema of each section, each once, at its first occurrence."""
    seen: set[str] = set()
    waiting: list[tuple[str, str, Schema]] = [("", "", schema)]
    while waiting:
        path, named, section = waiting.pop(0)
        yield path, named, section
        inner = []
        for name, field in section["properties"].items():
            for suffix, reference in _references(field):
                if reference not in seen:
                    seen.add(reference)
                    inner.append((f"{path}.{name}{suffix}".lstrip("."), reference, schema["$defs"][reference]))
        waiting = inner + waiting  # what a section holds stands right below it


def _references(field: Schema) -> Iterator[tuple[str, str]]:
    """The sections that a field holds, with what its path gains by it."""
    if "$ref" in field:
        yield "", field["$ref"].rpartition("/")[2]
    for one in field.get("anyOf", ()):
        yield from _references(one)
    for suffix, inner in (("[]", field.get("items")), (".<name>", _values(field))):
        if isinstance(inner, dict):
            yield from ((suffix + more, name) for more, name in _references(inner))


def _values(field: Schema) -> Schema | None:
    """The schema of the values of a mapping."""
    patterns = field.get("patternProperties") or {"": field.get("additionalProperties")}
    found: Schema | None = next(iter(patterns.values()))
    return found if isinstance(found, dict) else None


def _description(field: Schema, schema: Schema) -> str:
    """The description of a field; pydantic omits it if it equals that of the section in the field."""
    if "description" in field:
        return str(field["description"])
    return str(schema["$defs"][next(_references(field))[1]]["description"])


def _allowed(field: Schema, paths: Mapping[str, str]) -> str:
    """The allowed values as text."""
    if "$ref" in field:
        path = paths[field["$ref"].rpartition("/")[2]]
        return f"fields of [`{path}`](#{re.sub(r'[^a-z_-]', '', path)})"
    if "anyOf" in field:
        return " or ".join(_allowed(one, paths) for one in field["anyOf"] if one.get("type") != "null")
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kind = field.get("type")
    if kind == "array":
        return f"a list of: {_allowed(field['items'], paths)}"
    if kind == "object":
        inner = _values(field)
        return f"`<name>`: {'anything' if inner is None else _allowed(inner, paths)}"
    if kind == "string":
        pattern = field.get("pattern")
        return "text" if pattern is None else "a name" if pattern == NAME else f"text as `{pattern}`"
    words = {"integer": "a whole number", "number": "a number", "boolean": "`true`, `false`"}
    return words[str(kind)] + _bounds(field)


def _bounds(field: Schema) -> str:
    ends = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    found = [f"{words} {field[name]:,}" for name, words in ends.items() if name in field]
    return f", {', '.join(found)}" if found else ""


def _default(field: Schema) -> str:
    default = field.get("default")
    if default is None or default in ([], {}):
        return "none"
    if isinstance(default, dict):
        return (
            _yaml(default) if [*default] == ["model"] else "its defaults"
        )  # the one of `encoder`, which has no others
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _yaml(value: object) -> str:
    """A value as it is written in the file, in one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=float("inf"), allow_unicode=True)
    # A document that is one plain scalar ends with a line `...`.
    return "`" + text.removesuffix("\n").removesuffix("\n...") + "`"


def _prose(description: str) -> str:
    """A docstring as paragraphs, with its decisions as links."""
    text = "\n\n".join(" ".join(part.split()) for part in description.split("\n\n"))
    return re.sub(r"docs/(adr/(\d{4})[\w-]*\.md)", r"[\2](\1)", text)
