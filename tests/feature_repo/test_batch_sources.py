"""Sources by the kind of the offline store: the definitions over them are the same."""

import sys

import pytest

from feature_repo.batch_sources import batch_source, with_defaults
from feature_repo.definitions import definitions
from polytask.errors import DataError

STORES = {
    "duckdb": {"type": "duckdb"},
    "a class": {"type": "somebody.else.TheirOfflineStore"},
    "spark": {"type": "spark"},
    "postgres": {"type": "postgres", "host": "db", "database": "features"},
    "snowflake": {"type": "snowflake.offline", "database": "FEATURES", "schema": "LIVE"},
}


def sources(objects):
    views = [one for one in objects if type(one).__name__ == "FeatureView"]
    return {view.name: view.batch_source for view in views}


@pytest.mark.parametrize("store", STORES)
def test_the_views_differ_in_their_sources_alone(small_scenario, tmp_path, store):
    objects = definitions(small_scenario, tmp_path, STORES[store])
    local = definitions(small_scenario, tmp_path)
    assert [(type(one), one.name) for one in objects] == [(type(one), one.name) for one in local]
    for one, other in zip(objects, local, strict=True):
        if type(one).__name__ == "FeatureView":
            assert (one.schema, one.ttl, one.entities) == (other.schema, other.ttl, other.entities)
            assert (one.batch_source.name, one.batch_source.timestamp_field) == (
                f"{one.name}_source",
                "event_timestamp",
            )


@pytest.mark.parametrize(
    ("store", "kind", "where"),
    [
        ("duckdb", "FileSource", "path"),
        ("a class", "FileSource", "path"),
        ("spark", "SparkSource", "path"),
        ("postgres", "PostgreSQLSource", "table"),
        ("snowflake", "SnowflakeSource", "table"),
    ],
)
def test_each_store_gets_sources_that_it_reads(small_scenario, tmp_path, store, kind, where):
    file = str(tmp_path / "sources" / "user_history.parquet")
    expected = {"postgres": "small_user_history", "snowflake": "SMALL_USER_HISTORY"}.get(store, file)
    found = sources(definitions(small_scenario, tmp_path, STORES[store]))["user_history"]
    assert type(found).__name__ == kind
    if store == "postgres":
        assert found.get_table_query_string() == expected
    else:
        assert getattr(found, where) == expected
    if store == "spark":
        assert found.file_format == "parquet"
    if store == "snowflake":
        assert (found.database, found.schema) == ("FEATURES", "LIVE")


def test_another_store_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"type 'file'; allowed: duckdb, spark, postgres, snowflake\.offline, or"):
        batch_source({"type": "file"}, "small", tmp_path, "user_history")


def test_a_missing_driver_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    for name in [name for name in sys.modules if "postgres" in name and name.startswith("feast.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(DataError, match="needs psycopg: install the extra `postgres`"):
        batch_source({"type": "postgres"}, "small", tmp_path, "user_history")


def test_spark_answers_in_utc_unless_told_otherwise():
    assert with_defaults({"type": "spark"})["spark_conf"]["spark.sql.session.timeZone"] == "UTC"
    given = {"type": "spark", "spark_conf": {"spark.ui.showConsoleProgress": "true"}}
    assert with_defaults(given)["spark_conf"]["spark.ui.showConsoleProgress"] == "true"
    assert with_defaults({"type": "duckdb"}) == {"type": "duckdb"}
