"""The resources that the steps request from a cluster: defaults by kind, limits, and that no model knows of them."""

from pathlib import Path

import pytest

from polytask.errors import ScenarioError
from polytask.scenario import Scenario, load_scenario
from polytask.scenario.resources import amount


def written(file: Path, resources: str, folder: Path) -> Path:
    path = folder / "mine.yaml"
    path.write_text(f"{file.read_text(encoding='utf-8')}resources: {resources}\n", encoding="utf-8")
    return path


def test_what_is_not_named_keeps_its_default(
    small_scenario: Scenario, small_scenario_file: Path, tmp_path: Path
) -> None:
    mine = load_scenario(written(small_scenario_file, "{training: {memory: 64Gi, accelerators: 1}}", tmp_path))
    default = small_scenario.resources
    assert mine.resources.training == default.training.model_copy(update={"memory": "64Gi", "accelerators": 1})
    assert mine.resources.data == default.data


def test_a_model_does_not_depend_on_it(small_scenario: Scenario, small_scenario_file: Path, tmp_path: Path) -> None:
    mine = load_scenario(written(small_scenario_file, "{training: {memory: 64Gi}}", tmp_path))
    assert mine != small_scenario
    assert mine.model_dump_json() == small_scenario.model_dump_json()


@pytest.mark.parametrize(
    ("resources", "words"),
    [
        ("{training: {cpu: '4', cpu_limit: 3500m}}", "`cpu_limit` 3500m is less than the 4 that is requested"),
        ("{data: {memory_limit: 6G}}", "`memory_limit` 6G is less than the 6Gi that is requested"),
        ("{data: {memory: 6 GB}}", "resources.data.memory: invalid value '6 GB'"),
        ("{data: {cpu: many}}", "resources.data.cpu: invalid value 'many'"),
        ("{data: {timeout_hours: 0}}", "resources.data.timeout_hours: invalid value 0"),
        ("{model: {gpus: 1}}", "resources.model.gpus: unknown field with the value 1; allowed: cpu"),
    ],
)
def test_what_is_wrong_is_named(small_scenario_file: Path, tmp_path: Path, resources: str, words: str) -> None:
    with pytest.raises(ScenarioError, match=words):
        load_scenario(written(small_scenario_file, resources, tmp_path))


def test_amounts() -> None:
    assert [amount(one) for one in ("500m", "2", "1.5", "1Ki", "2Gi", "3G")] == [0.5, 2, 1.5, 1024, 2**31, 3e9]
