"""A store counts as filled only while marker, sources and online rows are those of the same inputs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from feature_repo.filled import MARKER, inputs_checksum, is_filled, mark_filled, unmark
from polytask.scenario import Scenario

VIEWS = ("user_profile",)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "user_profile.parquet").write_bytes(b"rows")
    (tmp_path / "registry.db").touch()
    with closing(sqlite3.connect(tmp_path / "online.db")) as database, database:
        database.execute("CREATE TABLE small_user_profile (entity_key BLOB)")
        database.execute("INSERT INTO small_user_profile VALUES (x'00')")
    mark_filled(tmp_path, "a")
    return tmp_path


def test_equal_inputs_need_no_other_filling(store: Path) -> None:
    assert is_filled(store, "a", VIEWS, "small")
    assert not is_filled(store, "b", VIEWS, "small")
    assert not is_filled(store, "a", (*VIEWS, "user_history"), "small")
    assert not is_filled(store / "none", "a", VIEWS, "small")
    unmark(store)
    assert not is_filled(store, "a", VIEWS, "small")


@pytest.mark.parametrize("file", [MARKER, "registry.db", "online.db", "sources/user_profile.parquet"])
def test_no_part_may_be_missing(store: Path, file: str) -> None:
    (store / file).unlink()
    assert not is_filled(store, "a", VIEWS, "small")


def test_emptied_changed_and_damaged_stores_are_filled_again(store: Path) -> None:
    (store / "sources" / "user_profile.parquet").write_bytes(b"other rows")
    assert not is_filled(store, "a", VIEWS, "small")
    mark_filled(store, "a")
    with closing(sqlite3.connect(store / "online.db")) as database, database:
        database.execute("DELETE FROM small_user_profile")
    assert not is_filled(store, "a", VIEWS, "small")
    (store / "online.db").write_bytes(b"no database")
    assert not is_filled(store, "a", VIEWS, "small")
    (store / MARKER).write_text("{", encoding="utf-8")
    assert not is_filled(store, "a", VIEWS, "small")


def test_all_that_a_store_is_filled_from_counts(small_scenario: Scenario, ingested: Path, tmp_path: Path) -> None:
    settings = tmp_path / "feature_store.yaml"
    settings.write_text("project: small", encoding="utf-8")
    found = [inputs_checksum(small_scenario, ingested, "1"), inputs_checksum(small_scenario, ingested, "2")]
    found += [inputs_checksum(small_scenario.model_copy(update={"title": "Other"}), ingested, "1")]
    found += [inputs_checksum(small_scenario, tmp_path, "1")]
    found += [inputs_checksum(small_scenario, ingested, "1", settings)]
    settings.write_text("project: other", encoding="utf-8")
    found += [inputs_checksum(small_scenario, ingested, "1", settings)]
    assert len(set(found)) == len(found)
