"""The fingerprint follows the code, the scenario and the data."""

import os
import shutil
from pathlib import Path

import pytest

from polytask.errors import DataError, ScenarioError
from polytask.registry.fingerprint import fingerprint, source_files
from polytask.scenario import Scenario, load_scenario
from polytask.text.language_model_files import language_model_folder, language_model_version


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


def test_it_follows_the_files_of_the_language_model(small_scenario: Scenario, scenario_file: Path) -> None:
    """A folder keeps its name when a model that was tuned further is put into it."""
    copied = scenario_file.parent / "language-model"
    shutil.copytree(language_model_folder(small_scenario.encoder.model), copied)
    text = scenario_file.read_text(encoding="utf-8").replace(small_scenario.encoder.model, str(copied))
    scenario_file.write_text(text, encoding="utf-8")
    first = fingerprint(str(scenario_file), "a")
    weights = next(copied.glob("*.safetensors"))
    before, times = weights.read_bytes(), weights.stat()
    # Other weights of the same size and time.
    weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert fingerprint(str(scenario_file), "a") != first
    weights.write_bytes(before)
    assert fingerprint(str(scenario_file), "a") == first
    (copied / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert fingerprint(str(scenario_file), "a") != first


def test_a_model_of_the_hub_is_known_by_its_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[list[str]] = []

    def snapshot_download(reference: str, allow_patterns: list[str]) -> str:
        requested.append(allow_patterns)
        return f"/cache/models--{reference.replace('/', '--')}/snapshots/{revision}"

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    revision = "0123abc"
    first = language_model_version("someone/model")
    revision = "4567def"
    assert language_model_version("someone/model") != first
    assert requested == [["config.json"]] * 2  # the weights are not fetched to find out


def test_files_of_a_table_in_parts_are_source_files(small_scenario: Scenario, tmp_path: Path) -> None:
    (tmp_path / "interactions.parquet" / "day=1").mkdir(parents=True)
    (tmp_path / "interactions.parquet" / "day=1" / "part-0.parquet").touch()
    (tmp_path / "users.csv").touch()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    source = small_scenario.source.model_copy(update={"path": str(tmp_path)})
    found = source_files(small_scenario.model_copy(update={"source": source}))
    assert [path.name for path in found] == ["part-0.parquet", "users.csv"]


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
