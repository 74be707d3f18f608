"""The page about the scenario file: it is current, it has every field, and it agrees with the models."""

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from polytask.scenario import load_scenario
from polytask.scenario.reference import scenario_reference
from polytask.scenario.schema import DEFAULT_LANGUAGE_MODEL, Encoder, FeatureSettings, Label, Scenario, Task, Training

PAGE = Path(__file__).parents[3] / "docs" / "scenario-file.md"


@pytest.fixture(scope="module")
def parts() -> dict[str, dict[str, list[str]]]:
    """Heading -> field -> the other cells of its row."""
    found = {}
    for part in scenario_reference().split("\n## ")[1:]:
        heading, _, rest = part.partition("\n")
        rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in rest.splitlines() if line.startswith("| `")]
        found[heading.strip("`")] = {row[0].strip("`"): row[1:] for row in rows}
    return found


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == scenario_reference(), (
        'regenerate it: python -c "from polytask.scenario.reference import scenario_reference; '
        "print(scenario_reference(), end='')\" > docs/scenario-file.md"
    )


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("The whole", Scenario),
        ("tasks[]", Task),
        ("tasks[].label", Label),
        ("features", FeatureSettings),
        ("encoder", Encoder),
        ("training", Training),
    ],
)
def test_a_part_has_every_field_of_its_section(parts: dict, heading: str, model: type[BaseModel]):
    assert list(parts[heading]) == list(model.model_fields)
    for name, field in model.model_fields.items():
        if (heading, name) != ("The whole", "encoder"):
            assert (parts[heading][name][2] == "required") == field.is_required(), name
        assert parts[heading][name][0].startswith(str(field.description)[:30]), name


def test_every_key_of_the_scenarios_stands_on_the_page(parts: dict):
    known = {name for part in parts.values() for name in part}
    for path in (PAGE.parents[1] / "scenarios").glob("*.yaml"):
        scenario = load_scenario(path)
        assert set(scenario.model_dump(exclude_unset=True)) <= known
        assert set(scenario.tasks[0].model_dump(exclude_unset=True)) <= known


def test_bounds_and_defaults_are_those_of_the_checks(parts: dict):
    assert parts["training"]["epochs"][1:] == ["a whole number, at least 1, at most 1,000", "`20`", "`12`"]
    assert parts["data_validation"]["max_bad_share"][1:] == ["a number, at least 0, below 1", "`0.0`", "`0.001`"]
    assert parts["tasks[]"]["added"][1:] == ["`true`, `false`", "`false`", "`true`"]
    assert parts["entities.users.columns.<name>"]["type"][2] == "required"
    assert parts["The whole"]["encoder"][2] == f"`{{model: '{DEFAULT_LANGUAGE_MODEL}'}}`"


def test_examples_are_written_as_yaml(parts: dict):
    assert parts["entities.users"]["columns"][3] == "`{age: {type: integer, min: 1, max: 120}}`"
    assert parts["evaluation.queries[]"]["value"][3] == "`Comedy`, `[Romance, Drama]`"
    assert parts["text"]["profile"][3] == "`'{age} year old {gender}, {occupation}'`"
