"""Take a user out of a feature store: the Parquet sources of its views, and the online store.

Feast has no call that deletes one entity. For SQLite and Redis the rows are deleted in the store itself, under the key
that Feast gives them; in any other online store the values are replaced by empty ones through Feast, and the key stays.
"""

import sqlite3
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from feast import FeatureStore, FeatureView
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import _redis_key
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.infra.online_stores.sqlite import SqliteOnlineStore, _table_id
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.value_type import ValueType

from feature_repo.history_writers import remove_events
from feature_repo.sources import USER_HISTORY, USER_PROFILE, source_file
from feature_repo.store import open_store
from polytask.errors import DataError
from polytask.personal.user_rows import count_rows, remove_rows
from polytask.scenario.schema import Scenario

# Of a store that another process writes to: how long a deletion waits for its lock, in seconds.
LOCK_SECONDS = 30
_TYPES = {"integer": ValueType.INT64, "string": ValueType.STRING}


@dataclass(frozen=True)
class OnlineRows:
    """What the online store has of a user: the views with values, and what was or would be done to them."""

    store: str
    views: tuple[str, ...]
    action: str


def user_views(scenario: Scenario) -> tuple[str, ...]:
    """The views whose rows are users."""
    return (USER_PROFILE, USER_HISTORY) if scenario.has_items else (USER_PROFILE,)


def rows_in_sources(folder: Path, scenario: Scenario, user: Hashable) -> dict[Path, int]:
    """The Parquet sources below `folder` that have rows of a user, and how many."""
    key = scenario.entities.users.key
    files = [source_file(folder, view) for view in user_views(scenario)]
    counts = {path: count_rows(path, key, user) for path in files if path.is_file()}
    return {path: count for path, count in counts.items() if count}


def remove_from_sources(folder: Path, scenario: Scenario, user: Hashable) -> None:
    """Rewrite the sources without the user's rows, each file as a whole."""
    for path in rows_in_sources(folder, scenario, user):
        remove_rows(path, scenario.entities.users.key, user)


def tables_elsewhere(folder: Path, scenario: Scenario) -> list[str]:
    """The offline tables of user views that are no files of the folder, such as those of Postgres or Snowflake.

    The team loads them, and deletes from them.
    """
    store = open_store(folder)
    sources = [store.get_feature_view(view).batch_source for view in user_views(scenario)]
    return [str(table) for source in sources if (table := getattr(source, "table", None) or None) is not None]


def online_rows(folder: Path, scenario: Scenario, user: Hashable) -> OnlineRows | None:
    """What the online store of the feature store in `folder` has of a user; None where it has nothing.

    Raises DataError where the store cannot be read.
    """
    store = open_store(folder)
    online = _online_store(store)
    key = _entity_key(scenario, user)
    found = []
    for view in _views(store, scenario):
        try:
            ((_, values),) = online.online_read(store.config, view, [key])
        except Exception as error:
            raise DataError(f"online store of {folder}: cannot be read: {error}") from error
        if any(value.WhichOneof("val") is not None for value in (values or {}).values()):
            found.append(view.name)
    if not found:
        return None
    return OnlineRows(str(store.config.online_store.type), tuple(found), _action(online))


def remove_from_online_store(folder: Path, scenario: Scenario, user: Hashable) -> None:
    """Delete a user's rows from the online store of the feature store in `folder`; see the module for stores of which
    Feast alone is known. Raises DataError where another process holds the SQLite file.
    """
    store = open_store(folder)
    online, key, views = _online_store(store), _entity_key(scenario, user), _views(store, scenario)
    if isinstance(online, SqliteOnlineStore):
        try:
            _remove_from_sqlite(online, store, views, key)
        except sqlite3.OperationalError as error:  # such as another process that keeps a transaction open
            what = f"online store of {folder}: rows of a user cannot be deleted: {error}"
            raise DataError(f"{what}; stop what writes to it, then run the command again") from error
    elif isinstance(online, RedisOnlineStore):
        client = online._get_client(store.config.online_store)
        client.delete(_redis_key(store.project, key, store.config.entity_key_serialization_version))
    else:
        now = datetime.now(UTC)
        for view in views:
            empty = {field.name: Value() for field in view.features}
            online.online_write_batch(store.config, view, [(key, empty, now, now)], None)


def _remove_from_sqlite(online: SqliteOnlineStore, store: FeatureStore, views: list[FeatureView], key: Any) -> None:
    serialized = serialize_entity_key(key, store.config.entity_key_serialization_version)
    versioned = store.config.registry.enable_online_feature_view_versioning
    connection = online._get_conn(store.config)
    try:
        connection.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
        # SQLite only marks deleted rows as free: their bytes stay in the file until they are written over.
        connection.execute("PRAGMA secure_delete = ON")
        with connection:
            for view in views:
                table = _table_id(store.project, view, versioned).replace('"', '""')
                connection.execute(f'DELETE FROM "{table}" WHERE entity_key = ?', (serialized,))  # noqa: S608 - quoted
            remove_events(connection, store.project, serialized)
        # Rows that were replaced earlier, by a push, are in free pages too.
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
        online._conn = None


def _action(online: Any) -> str:
    if isinstance(online, (SqliteOnlineStore, RedisOnlineStore)):
        return "rows deleted"
    return "values replaced by empty ones (Feast cannot delete here, the key stays)"


def _online_store(store: FeatureStore) -> Any:
    return store._get_provider().online_store


def _views(store: FeatureStore, scenario: Scenario) -> list[FeatureView]:
    return [store.get_feature_view(view) for view in user_views(scenario)]


def _entity_key(scenario: Scenario, user: Hashable) -> EntityKey:
    users = scenario.entities.users
    (value,) = python_values_to_proto_values([user], _TYPES[users.key_type])
    return EntityKey(join_keys=[users.key], entity_values=[value])
