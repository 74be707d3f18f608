"""The fingerprint follows the code, the scenario and the data."""

import shutil
from pathlib import Path

import pytest

from polytask.errors import DataError, ScenarioError
from polytask.fingerprint import fingerprint, source_files
from polytask.scenario import Scenario, load_scenario


@pytest.fixture
def scenario_file(small_scenario: Scenario, small_scenario_file: Path, tmp_path: Path) -> Path:
    """A scenario over a copy of the small tables."""
    assert small_scenario.source.path is not None
    shutil.copytree(small_scenario.source.path, tmp_path / "tables")
    text = small_scenario_file.read_text(encoding="utf-8").replace(small_scenario.source.path, str(tmp_path / "tables"))
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "mine.yaml"


def test_it_follows_code_scenario_and_data(scenario_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(code: str = "a") -> str:
        return fingerprint(str(scenario_file), code)

    first = found()
    assert found() == first
    assert found("b") != first
    items = scenario_file.parent / "tables" / "items.csv"
    before = items.read_bytes()
    items.write_bytes(before + b"\n")
    assert found() != first
    items.write_bytes(before)
    assert found() == first
    with scenario_file.open("a", encoding="utf-8") as file:
        file.write("# another comment\n")
    second = found()
    assert second != first
    monkeypatch.setenv("POLYTASK_REVISION", "abc")
    assert found() != second


def test_source_files_are_those_of_the_folder(small_scenario: Scenario) -> None:
    assert {"users.csv", "items.csv", "interactions.csv"} <= {path.name for path in source_files(small_scenario)}
    assert source_files(load_scenario("movielens")) == []


def test_what_is_not_there_is_named(small_scenario: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        DataError, match="no folder build/samples/smart_city; made-up tables: polytask sample-data smart_city"
    ):
        source_files(load_scenario("smart_city"))
    gone = small_scenario.model_copy(update={"source": small_scenario.source.model_copy(update={"path": "gone"})})
    with pytest.raises(DataError, match=r"source.path: there is no folder gone$"):
        source_files(gone)
    with pytest.raises(ScenarioError, match=r"gone.yaml: cannot be read"):
        fingerprint("gone.yaml", "")
