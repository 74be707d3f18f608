"""The sources of the feature views, of the kind that the offline store reads; the views over them stay as they are."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from feast import FileSource
from feast.data_source import DataSource

from feature_repo.sources import STAMP, source_file
from polytask.errors import DataError

# Spark returns a time without a zone in the zone of the session: all timestamps here are UTC.
SPARK_CONF = {"spark.sql.session.timeZone": "UTC", "spark.ui.showConsoleProgress": "false"}

Settings = Mapping[str, Any]


def batch_source(offline: Settings, project: str, folder: Path, view: str) -> DataSource:
    """The source of a view for the offline store of these settings (`offline_store` of feature_store.yaml).

    DuckDB and stores that are named by their class read the Parquet file below `folder` that `write_sources` writes;
    Spark reads it too, so its workers have to see the folder. Postgres and Snowflake read a table `<project>_<view>`
    with the columns of that file, which the operator of the store loads. Raises DataError for another store.
    """
    kind = str(offline["type"])
    make = _file if kind.endswith("OfflineStore") else _KINDS.get(kind)
    if make is None:
        raise DataError(
            f"offline_store: type {kind!r}; allowed: {', '.join(_KINDS)}, or the path of a class that reads Parquet"
        )
    return make(offline, f"{project}_{view}", source_file(folder, view), f"{view}_source")


def with_defaults(offline: Settings) -> dict[str, Any]:
    """The settings of an offline store with what right results need of it."""
    if offline["type"] != "spark":
        return dict(offline)
    return {**offline, "spark_conf": {**SPARK_CONF, **offline.get("spark_conf", {})}}


def _file(_: Settings, __: str, path: Path, name: str) -> DataSource:
    return FileSource(name=name, path=str(path), timestamp_field=STAMP)


def _spark(_: Settings, __: str, path: Path, name: str) -> DataSource:
    from feast.infra.offline_stores.contrib.spark_offline_store.spark_source import SparkSource

    return SparkSource(name=name, path=str(path), file_format="parquet", timestamp_field=STAMP)


def _postgres(_: Settings, table: str, __: Path, name: str) -> DataSource:
    try:
        from feast.infra.offline_stores.contrib.postgres_offline_store.postgres_source import PostgreSQLSource
    except ModuleNotFoundError as error:
        raise DataError(f"offline_store: type 'postgres' needs {error.name}: install the extra `postgres`") from error

    return PostgreSQLSource(name=name, table=table, timestamp_field=STAMP)


def _snowflake(offline: Settings, table: str, _: Path, name: str) -> DataSource:
    from feast import SnowflakeSource

    place = {"database": offline.get("database"), "schema": offline.get("schema")}
    return SnowflakeSource(name=name, table=table.upper(), timestamp_field=STAMP, **place)


_KINDS: dict[str, Callable[[Settings, str, Path, str], DataSource]] = {
    "duckdb": _file,
    "spark": _spark,
    "postgres": _postgres,
    "snowflake.offline": _snowflake,
}
