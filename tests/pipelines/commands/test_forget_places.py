"""The places that `polytask forget` searches, one by one, and its report."""

from pathlib import Path

import pandas as pd
import pytest

from polytask.ingest import movielens
from polytask.ingest.forgotten import read_forgotten
from polytask.ingest.rejected import write_rejected
from polytask.ingest.run import clean, read_source
from polytask.ingest.widedeep import DATA, WHEEL
from polytask.personal.places import FORGOTTEN
from polytask.scenario import load_scenario
from polytask.scenario.data import DataValidation
from polytask.storage.wheels import MARKER
from tests.pipelines.forgotten_workspace import OTHER, USER, run


def test_a_user_of_rejected_rows_alone_is_found(place: Path) -> None:
    """Ingest drops the row of users.csv, whose age is above 120, and all events of the user."""
    scenario = load_scenario(place / "data" / "small.yaml")
    raw = read_source(scenario).tables
    users = raw.users[raw.users["user_id"] == str(OTHER)].assign(user_id="31337", age="999")
    scenario = scenario.model_copy(update={"data_validation": DataValidation(max_bad_share=0.5)})
    rejected = clean(scenario, raw._replace(users=pd.concat([raw.users, users], ignore_index=True))).rejected
    folder = place / "workspace" / "small" / "pipeline" / "run" / "ingest" / "tables" / "rejected"
    (path,) = write_rejected(rejected, folder)
    assert "31337" in path.read_text(encoding="utf-8")
    assert "pipeline runs" in run(place, user=31337)
    assert not path.exists()


def test_paths_are_not_wrapped_in_a_pipe(place: Path) -> None:
    """The output is no terminal, and COLUMNS is 80."""
    output = run(place, "--dry-run")
    folder = place / "workspace" / "small"
    for path in (folder / "pipeline", folder / "small.resume.safetensors", folder / "serve" / "transformer.log"):
        assert any(str(path) in line.split() for line in output.splitlines()), path
    (profile,) = [line for line in output.splitlines() if "user_profile.parquet" in line]
    assert profile.rstrip().endswith("1 row removed")


@pytest.mark.usefixtures("quick_export")
def test_the_logs_of_serve_are_searched(place: Path) -> None:
    logs = place.parent / "serve"
    (logs / "beside").mkdir(parents=True)
    named = [logs / "transformer.log", logs / "beside" / "transformer.log"]
    for path in named:
        path.write_text(f"user: {USER} has no history\n")
    (logs / "triton.log").write_text(f"port 1{USER}\n")
    assert all(str(path) in run(place, "--dry-run") for path in named)
    run(place)
    assert [path.name for path in sorted(logs.rglob("*")) if path.is_file()] == ["triton.log"]


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with an unpacked MovieLens of two users, and an empty workspace."""
    monkeypatch.setenv("POLYTASK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("serving.local.stack.LOGS", tmp_path / "serve")
    (tmp_path / "workspace").mkdir()
    folder = tmp_path / "cache" / "movielens-100k"
    (folder / DATA).mkdir(parents=True)
    (folder / MARKER).write_text(WHEEL.sha256)
    items = {"movie_id": [1], "movie_title": ["Toy Story (1995)"], "release_date": ["01-Jan-1995"]}
    tables = {
        "users": pd.DataFrame({"user_id": [7, 42], "age": [24, 30], "gender": "F", "occupation": "writer"}),
        "items": pd.DataFrame({**items, **dict.fromkeys(movielens.GENRES, 0)}),
        "data": pd.DataFrame({"user_id": [7, 42, 42], "movie_id": 1, "rating": 4, "timestamp": [1, 2, 3]}),
    }
    for name, table in tables.items():
        table.to_parquet(folder / DATA / f"MovieLens100k_{name}.parquet.brotli", compression="brotli")
    return tmp_path


def test_rows_in_the_copy_of_a_packaged_data_set_are_reported(packaged: Path) -> None:
    movielens_scenario = ("--scenario", "movielens")
    copy = packaged / "cache" / "movielens-100k"
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    for arguments in (["--dry-run"], [], []):
        (line,) = [
            line for line in run(packaged, *movielens_scenario, *arguments, user=42).splitlines() if "kept" in line
        ]
        assert "packaged data sets" in line and "3 rows kept" in line and "delete the folder" in line
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert read_forgotten(load_scenario("movielens")).holds(42)
    assert "nothing is stored of user 9" in run(packaged, *movielens_scenario, user=9)


def test_a_dry_run_lists_the_list_of_forgotten_users(packaged: Path) -> None:
    def listed(*arguments: str, user: int = 42) -> list[str]:
        lines = run(packaged, "--scenario", "movielens", *arguments, user=user).splitlines()
        return [line.strip() for line in lines if "user added, as a salted hash" in line]

    (line,) = listed("--dry-run")
    assert FORGOTTEN in line and "forgotten/movielens.json" in line
    assert not (packaged / "cache" / "forgotten").exists()
    assert listed("--dry-run", user=9) == []
    assert listed() == [line]
    assert listed("--dry-run") == [], "the user is on the list"


def test_a_packaged_data_set_is_not_unpacked_to_look_for_a_user(packaged: Path) -> None:
    (packaged / "cache" / "movielens-100k" / MARKER).unlink()
    assert "nothing is stored of user 42" in run(packaged, "--scenario", "movielens", user=42)
    assert [path.name for path in (packaged / "cache").iterdir()] == ["movielens-100k"]
