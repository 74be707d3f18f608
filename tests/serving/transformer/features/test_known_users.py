"""Store settings that differ in one line: no user is found, and the transformer does not become ready."""

import argparse
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.redis_server import RedisServer
from feature_repo.apply import build_store
from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.transformer.bundle import Bundle, load_bundle
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.features.known_users import KnownUsers, add_argument, check_known_users
from serving.transformer.features.reader import FeatureReader
from serving.transformer.release import Served

SETTINGS = """
project: small
provider: local
registry: {registry}
online_store: {{type: redis, connection_string: '{address},db=1'}}
entity_key_serialization_version: 3
"""


@pytest.fixture(scope="module")
def bundle(ruled_bundle: Path) -> Bundle:
    return load_bundle(ruled_bundle)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis"), keep_data=True) as server:
        yield server


@pytest.fixture(scope="module")
def settings(
    redis: RedisServer, small_scenario: Scenario, ingested: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The feature_store.yaml by which a pipeline has filled Redis."""
    folder = tmp_path_factory.mktemp("filled")
    text = SETTINGS.format(registry=folder / "registry.db", address=redis.address)
    (folder / "settings.yaml").write_text(text, encoding="utf-8")
    build_store(small_scenario, ingested, folder / "store", folder / "settings.yaml")
    return text


def release_of(bundle: Bundle, folder: Path, *words: str) -> Served:
    """A release as the transformer makes it at its start with these arguments."""
    parser = argparse.ArgumentParser()
    add_argument(parser)
    release = Served(bundle, FeatureReader(folder, bundle.contract.scenario), None)  # type: ignore[arg-type]
    check_known_users([release], parser.parse_args(words))
    return release


def with_settings(tmp_path: Path, text: str) -> Path:
    (tmp_path / "feature_store.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_the_settings_of_the_pipeline_find_the_users(bundle: Bundle, settings: str, tmp_path: Path) -> None:
    release = release_of(bundle, with_settings(tmp_path, settings))
    release.probe_features()
    release.probe_features()


@pytest.mark.parametrize(
    ("old", "new", "shown"),
    [
        ("db=1", "db=3", "db=3, entity_key_serialization_version 3"),
        ("version: 3", "version: 2", "db=1, entity_key_serialization_version 2"),
    ],
)
def test_one_other_line_is_reported_with_what_to_compare(
    bundle: Bundle, settings: str, tmp_path: Path, old: str, new: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    release = release_of(bundle, with_settings(tmp_path, settings.replace(old, new)))
    expected = rf"none of 30 users of the bundle is in the online store \(project small, redis, .*{re.escape(shown)}\)"
    for _ in range(2):
        with pytest.raises(ContractError, match=expected):
            release.probe_features()
    assert len([record for record in caplog.records if "none of 30 users" in record.message]) == 1
    release_of(bundle, tmp_path, "--allow_unknown_users").probe_features()


def test_a_store_that_is_filled_meanwhile_is_found(bundle: Bundle, small_store: Path, tmp_path: Path) -> None:
    shutil.copytree(small_store, tmp_path / "store")
    (tmp_path / "store" / "online.db").rename(tmp_path / "online.db")
    text = (tmp_path / "store" / "feature_store.yaml").read_text(encoding="utf-8")
    folder = with_settings(tmp_path / "store", text.replace("online.db", "other.db"))
    shutil.copyfile(tmp_path / "online.db", folder / "other.db")
    with closing(sqlite3.connect(folder / "other.db")) as database, database:
        rows = database.execute("SELECT * FROM small_user_profile").fetchall()
        for view in ("user_profile", "user_history"):
            database.execute(f"DELETE FROM small_{view}")
    release = release_of(bundle, folder)
    with pytest.raises(ContractError, match=r"sqlite, path .*other\.db"):
        release.probe_features()
    with closing(sqlite3.connect(folder / "other.db")) as database, database:
        marks = ", ".join("?" * len(rows[0]))
        database.executemany(f"INSERT INTO small_user_profile VALUES ({marks})", rows)
    release.probe_features()


def test_a_store_that_is_down_is_no_other_store(
    bundle: Bundle, settings: str, redis: RedisServer, tmp_path: Path
) -> None:
    release = release_of(bundle, with_settings(tmp_path, settings))
    redis.stop()
    try:
        with pytest.raises(Unavailable):
            release.probe_features()
    finally:
        redis.start()
    release.probe_features()
    # Once it was found to be the right one, an empty store is no reason to stop serving.
    redis.stop()
    (redis.folder / "dump.rdb").unlink(missing_ok=True)
    redis.start()
    release.probe_features()


def test_passwords_are_not_shown(bundle: Bundle, settings: str, tmp_path: Path) -> None:
    text = settings.replace(",db=1", ",username=me,password=secret-word,db=3")
    release = release_of(bundle, with_settings(tmp_path, text))
    check = KnownUsers(bundle)
    release.features.read = lambda users, moments: []  # type: ignore[method-assign]
    with pytest.raises(ContractError, match="db=3") as caught:
        check.check(release.features)
    assert "secret-word" not in str(caught.value)
    assert "username" not in str(caught.value)
