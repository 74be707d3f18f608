"""Every field of the scenario file, at any depth, has a description and an example that fits it."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from polytask.scenario.schema import Scenario, Section


def sections(model: type[Section]) -> Iterator[type[Section]]:
    """A section and the sections in its fields, each once."""
    found, waiting = [], [model]
    while waiting:
        section = waiting.pop()
        if section not in found:
            found.append(section)
            waiting += [one for field in section.model_fields.values() for one in classes(field.annotation)]
    return iter(found)


def classes(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from classes(argument)


FIELDS = [
    pytest.param(field, id=f"{section.__name__}.{name}")
    for section in sections(Scenario)
    for name, field in section.model_fields.items()
]


def test_all_depths_are_covered():
    names = {section.__name__ for section in sections(Scenario)}
    assert {"Scenario", "Column", "Condition", "QueryCheck", "Lora", "LightSteps", "TrainingSteps"} <= names


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_has_a_description_of_complete_sentences(field: FieldInfo):
    assert field.description
    assert field.description == field.description.strip()
    assert field.description.endswith(".")
    assert field.description[0].isupper() or field.description[0] == "`"
    assert "  " not in field.description


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_has_an_example_that_its_type_accepts(field: FieldInfo):
    assert field.examples
    for example in field.examples:
        TypeAdapter(field.rebuild_annotation()).validate_python(example)
