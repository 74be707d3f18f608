"""Change one user's history in the online store so that no writer replaces what another has just written.

Reading, changing and writing are one transaction: `BEGIN IMMEDIATE` of SQLite, WATCH and MULTI of Redis, tried again
where another writer was faster. What is called here of Feast's two stores is no public interface, as in
`serving.transformer.features.redis`: the version of Feast is pinned, and tests read the results back by Feast.
"""

import fcntl
import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from feast import FeatureStore, FeatureView

from polytask.contract.tensors import HISTORY, SEEN
from polytask.errors import DataError

NAMES = (HISTORY, SEEN)
# How long a writer waits for others in all, and between two attempts.
DEADLINE_SECONDS = 10.0
RETRY_SECONDS = 0.002
# The events of a user by which a repeated one is known.
REMEMBERED_EVENTS = 128
# In SQLite a table of its own: Feast takes the time of a user's row from any of its features.
EVENTS_TABLE = "polytask_pushed_events"
EVENTS_FIELD = "_polytask_pushed_events"
ALMOST_A_SECOND = timedelta(microseconds=999_999)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_THREADS = threading.Lock()


@dataclass(frozen=True)
class UserHistory:
    """What the online store has of a user: `values` (Feast's, by name), the time of the row (UTC), pushed events."""

    values: dict[str, Any]
    stamp: datetime | None
    events: tuple[str, ...] = ()


# Gets what is stored and returns what is to be stored; None where it stays.
Change = Callable[[UserHistory], UserHistory | None]


def change_history(store: FeatureStore, view: FeatureView, key: Any, change: Change) -> UserHistory:
    """Apply `change` to the row of the entity key `key` and return what is stored then.

    Raises DataError where other writers do not let it happen within the deadline; nothing is written then.
    """
    online = store.provider.online_store
    kind = type(online).__name__
    if kind == "SqliteOnlineStore":
        return _in_sqlite(store, online, view, key, change)
    if kind == "RedisOnlineStore":
        return _in_redis(store, online, view, key, change)
    return _in_other(store, online, view, key, change)


def _in_sqlite(store: FeatureStore, online: Any, view: FeatureView, key: Any, change: Change) -> UserHistory:
    from feast.infra.key_encoding_utils import serialize_entity_key

    config = store.config
    version = config.entity_key_serialization_version
    owner = (config.project, serialize_entity_key(key, entity_key_serialization_version=version))
    with _THREADS:  # they share Feast's connection
        database = online._get_conn(config)
        _begin(database, store)
        try:
            database.execute(
                f"CREATE TABLE IF NOT EXISTS {EVENTS_TABLE} "
                "(project TEXT, entity_key BLOB, events TEXT, PRIMARY KEY (project, entity_key))"
            )
            # The stamp is in whole seconds; SQLite takes a row of any stamp.
            ((stamp, values),) = online.online_read(config, view, [key], list(NAMES))
            query = f"SELECT events FROM {EVENTS_TABLE} WHERE project = ? AND entity_key = ?"  # noqa: S608
            found = database.execute(query, owner).fetchone()
            before = UserHistory(values or {}, stamp, _events(found and found[0], stamp))
            after = change(before)
            if after is None:
                database.rollback()
                return before
            replace = f"INSERT OR REPLACE INTO {EVENTS_TABLE} VALUES (?, ?, ?)"  # noqa: S608
            database.execute(replace, (*owner, _record(after)))
            # It commits the transaction that is open.
            online.online_write_batch(config, view, [(key, after.values, after.stamp, None)], None)
        except BaseException:
            database.rollback()
            raise
    return after


def remove_events(database: sqlite3.Connection, project: str, entity_key: bytes) -> None:
    """Delete what is remembered of a user's pushed events in SQLite; in Redis it is a field of the user's hash."""
    if database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (EVENTS_TABLE,)).fetchone() is not None:
        delete = f"DELETE FROM {EVENTS_TABLE} WHERE project = ? AND entity_key = ?"  # noqa: S608
        database.execute(delete, (project, entity_key))


def _begin(database: sqlite3.Connection, store: FeatureStore) -> None:
    for _ in _attempts(store):
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
        else:
            return


def _in_redis(store: FeatureStore, online: Any, view: FeatureView, key: Any, change: Change) -> UserHistory:
    from feast.infra.online_stores.helpers import _mmh3
    from feast.infra.online_stores.redis import _versioned_fv_name
    from google.protobuf.timestamp_pb2 import Timestamp
    from redis import WatchError

    config = store.config
    (name,) = online._generate_redis_keys_for_entities(config, [key])
    of_view = _versioned_fv_name(view, config)
    time_field, events_field = f"_ts:{of_view}", f"{EVENTS_FIELD}:{of_view}"
    fields = {feature: _mmh3(f"{of_view}:{feature}") for feature in NAMES}
    with online._get_client(config.online_store).pipeline() as pipe:
        for _ in _attempts(store):
            try:
                pipe.watch(name)
                stored_time, stored_events, *stored = pipe.hmget(name, [time_field, events_field, *fields.values()])
                stamp = _exact(Timestamp.FromString(bytes(stored_time))) if stored_time else None
                values = {feature: _value(content) for feature, content in zip(fields, stored, strict=True)}
                before = UserHistory(values, stamp, _events(stored_events, stamp))
                after = change(before)
                if after is None:
                    return before
                written = Timestamp()
                written.FromDatetime(after.stamp)
                content = {fields[feature]: value.SerializeToString() for feature, value in after.values.items()}
                pipe.multi()
                pipe.hset(
                    name,
                    mapping={time_field: written.SerializeToString(), events_field: _record(after), **content},
                )
                if config.online_store.key_ttl_seconds:
                    pipe.expire(name, config.online_store.key_ttl_seconds)
                pipe.execute()
            except WatchError:
                continue
            return after
    raise AssertionError("the attempts end with an error")


def _in_other(store: FeatureStore, online: Any, view: FeatureView, key: Any, change: Change) -> UserHistory:
    """Feast offers no transaction of other stores: one writer at a time on this machine, and no remembered events."""
    name = sha256(f"{Path(store.repo_path).resolve()} {store.config.project}".encode()).hexdigest()[:16]
    with _locked(Path(tempfile.gettempdir()) / f"polytask-push-{name}.lock", store):
        ((stamp, values),) = online.online_read(store.config, view, [key], list(NAMES))
        # Some stores give back whole seconds: the next row has to be later than any time in that one.
        newest = stamp + ALMOST_A_SECOND if stamp is not None and stamp.microsecond == 0 else stamp
        before = UserHistory(values or {}, newest)
        after = change(before)
        if after is None:
            return before
        online.online_write_batch(store.config, view, [(key, after.values, after.stamp, None)], None)
        return after


@contextmanager
def _locked(path: Path, store: FeatureStore) -> Iterator[None]:
    with path.open("a") as file:
        for _ in _attempts(store):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            break
        yield


def _attempts(store: FeatureStore) -> Iterator[int]:
    """Numbers of attempts until the deadline. Raises DataError after it."""
    started = time.monotonic()
    number = 0
    while time.monotonic() - started < DEADLINE_SECONDS:
        yield number
        number += 1
        # Different for each process and attempt, so that two writers do not meet again and again.
        time.sleep(RETRY_SECONDS * (1 + hash((threading.get_ident(), time.monotonic_ns())) % 8))
    raise DataError(
        f"{store.repo_path}: other writers kept the online store busy for {DEADLINE_SECONDS:g} s ({number} attempts); "
        "the event was not written, push it again"
    )


def remembered(event: Hashable) -> str:
    """16 hexadecimal digits for an event."""
    return sha256(repr(event).encode()).hexdigest()[:16]


def _record(history: UserHistory) -> str:
    """The pushed events with the second of the row that holds them: a row that the batch has written since has none."""
    assert history.stamp is not None
    return json.dumps({"stamp": int(history.stamp.timestamp()), "events": history.events[-REMEMBERED_EVENTS:]})


def _events(record: Any, stamp: datetime | None) -> tuple[str, ...]:
    if not record or stamp is None:
        return ()
    content = json.loads(record)
    return tuple(content["events"]) if content["stamp"] == int(stamp.timestamp()) else ()


def _exact(stamp: Any) -> datetime:
    return EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def _value(content: Any) -> Any:
    from feast.protos.feast.types.Value_pb2 import Value

    return Value.FromString(bytes(content)) if content else Value()
