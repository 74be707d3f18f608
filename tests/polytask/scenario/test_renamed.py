"""An old name in a scenario file: the error names the new one, and a file under the new names loads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from polytask.errors import ScenarioError
from polytask.scenario.load import load_scenario, load_task
from polytask.scenario.renamed import FIELDS, VALUES
from tests.polytask.scenario.old_names import renamed
from tests.small import write_small_scenario

OLD: dict[str, tuple[list[str | int], object]] = {
    "validation": (["validation"], {"max_bad_share": 0.5}),
    "features.seen_length": (["features", "seen_length"], 48),
    "features.negative_length": (["features", "negative_length"], 4),
    "model.negative_strength": (["model", "negative_strength"], 1.0),
    "training.windows_per_batch": (["training", "windows_per_batch"], 4),
    "training.query_share": (["training", "query_share"], 0.1),
    "training.weighting": (["training", "weighting"], "dwa"),
    "tasks.*.gate": (["tasks", 0, "gate"], "popularity"),
    "resources.*.hours": (["resources", "training", "hours"], 3),
}


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    """The small scenario as a mapping."""
    loaded: dict[str, Any] = yaml.safe_load(write_small_scenario(tmp_path).read_text(encoding="utf-8"))
    return loaded


def with_old(result: dict[str, Any], path: list[str | int], value: object) -> dict[str, Any]:
    """The scenario with an old field in place of the new one."""
    section: Any = result
    for part in path[:-1]:
        section = section[part] if isinstance(part, int) else section.setdefault(part, {})
    old = str(path[-1])
    new = next(new for name, new in FIELDS.items() if name.split(".")[-1] == old).split(".")[-1]
    section.pop(new, None)
    section[old] = value
    return result


def test_every_renamed_field_has_a_case():
    assert set(OLD) == set(FIELDS)


@pytest.mark.parametrize("name", OLD, ids=lambda name: name.replace("*", "0"))
def test_an_old_field_is_refused_with_its_new_name(name, content, tmp_path):
    path, value = OLD[name]
    old = with_old(content, path, value)
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(old), encoding="utf-8")
    expected = ".".join(str(part) for part in [*path[:-1], FIELDS[name].split(".")[-1]])
    with pytest.raises(ScenarioError) as error:
        load_scenario(file)
    assert f"it is now called `{expected}`" in str(error.value)
    file.write_text(yaml.safe_dump(renamed(old)), encoding="utf-8")
    loaded: Any = load_scenario(file)
    for part in expected.split("."):
        loaded = loaded[int(part)] if part.isdecimal() else getattr(loaded, part)
    assert loaded == (type(loaded).model_validate(value) if isinstance(value, dict) else value)


@pytest.mark.parametrize(("old", "new"), [*VALUES["split.kind"].items()])
def test_an_old_value_is_refused_with_its_new_name(old, new, content, tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(content | {"split": {"kind": old}}), encoding="utf-8")
    with pytest.raises(ScenarioError, match=f"split.kind: invalid value '{old}'; expected '{new}', its new name"):
        load_scenario(file)


def test_an_old_field_of_a_task_file_is_refused_with_its_new_name(tmp_path):
    task = {"name": "liked", "title": "Liked", "kind": "binary", "label": {"source": "interaction", "column": "rating"}}
    file = tmp_path / "task.yaml"
    file.write_text(yaml.safe_dump(task | {"gate": "none"}), encoding="utf-8")
    with pytest.raises(
        ScenarioError, match="gate: unknown field with the value 'none'; it is now called `baseline_gate`"
    ):
        load_task(file)
