"""The descriptions of fields of the scenario file, by their path."""

from collections.abc import Iterator, Sequence
from typing import Any, get_args, get_origin

from polytask.scenario.section import Section


def description_of(section: type[Section], path: Sequence[int | str]) -> str:
    """Return the description of the deepest field of `section` on `path`, '' if there is none.

    Args:
        section: The model at which the path starts.
        path: Field names, names in mappings and positions in lists, as in `loc` of an error of pydantic.
    """
    description, _ = _at(section, path)
    return description


def names_at(section: type[Section], path: Sequence[int | str]) -> tuple[str, ...]:
    """Return the names of the fields that are allowed in the section at `path`, () where it is no section."""
    _, sections = _at(section, path)
    return tuple(name for one in sections for name in one.model_fields)


def _at(section: type[Section], path: Sequence[int | str]) -> tuple[str, list[type[Section]]]:
    """Return the description of the deepest field on `path`, and the sections that the field holds."""
    description, sections, in_mapping = "", [section], False
    for part in path:
        if in_mapping:  # a name that the user chose, such as that of a column
            in_mapping = False
            continue
        for one in sections:
            if field := one.model_fields.get(str(part)):
                description = field.description or ""
                sections = list(_sections(field.annotation))
                in_mapping = get_origin(field.annotation) is dict
                break
    return description, sections


def _sections(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _sections(argument)
