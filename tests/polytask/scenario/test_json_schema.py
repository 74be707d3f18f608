"""The JSON Schema of the scenario file: it is current, accepts every scenario, and rejects wrong fields."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from polytask.scenario.json_schema import json_schema_text, scenario_json_schema
from polytask.scenario.load import SCENARIOS

FILE = SCENARIOS / "scenario.schema.json"
FILES = sorted(SCENARIOS.glob("*.yaml"))


def messages(content: Any) -> list[str]:
    """`path: message` of each violation of the committed schema."""
    validator = Draft202012Validator(yaml.safe_load(FILE.read_text(encoding="utf-8")))
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in validator.iter_errors(content)]


def test_the_file_is_current():
    assert FILE.read_text(encoding="utf-8") == json_schema_text(scenario_json_schema()), (
        'regenerate it: python -c "from polytask.scenario.json_schema import *; '
        "print(json_schema_text(scenario_json_schema()), end='')\" > scenarios/scenario.schema.json"
    )


def test_it_is_a_json_schema():
    schema = scenario_json_schema()
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_scenario_fits(path: Path):
    assert messages(yaml.safe_load(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_editors_find_the_schema_of_a_scenario(path: Path):
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first == f"# yaml-language-server: $schema={FILE.name}"


def test_wrong_fields_are_found():
    right = yaml.safe_load((SCENARIOS / "movielens.yaml").read_text(encoding="utf-8"))
    wrong = copy.deepcopy(right)
    wrong["training"]["epoch"] = 3
    wrong["tasks"][0]["kind"] = "retrival"
    wrong["model"]["dim"] = 4
    del wrong["title"]
    found = "\n".join(sorted(messages(wrong)))
    assert found.count("\n") == 3
    assert "training: Additional properties are not allowed ('epoch' was unexpected)" in found
    assert "tasks.0.kind: 'retrival' is not one of" in found
    assert "model.dim: 4 is less than the minimum of 8" in found
    assert "'title' is a required property" in found


def test_the_encoder_may_be_left_out():
    content = yaml.safe_load((SCENARIOS / "movielens.yaml").read_text(encoding="utf-8"))
    del content["encoder"]
    assert messages(content) == []
