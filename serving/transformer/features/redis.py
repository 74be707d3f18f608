"""All views of the users from Feast's Redis store in one round trip: one HMGET a user, whose hash has all fields.

The read exists twice: blocking, and for an event loop, which then needs no thread that waits for Redis.

`OnlineStore.online_read` reads one view, so that two views cost two trips and two keys a user. This module calls
the store's own parts of that function: keys, fields, wire and values stay Feast's. They are no public interface;
the version of Feast is pinned, and a test holds the result against `online_read`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from serving.transformer.concurrency.bounded_cache import BoundedCache
from serving.transformer.features.views import ViewRead

if TYPE_CHECKING:  # feast takes seconds to import
    from feast import RepoConfig
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey

HASHES_BYTES = 16 * 2**20

# Of one view: when the values of each user are from, and the values by feature.
ViewRows = Sequence[tuple[datetime | None, dict[str, Any] | None]]
# The fields of all views, and of each view its name in the store, its features and where they stand.
Layout = tuple[list[Any], list[tuple[str, list[str], slice]]]


class RedisViews:
    """Reads several views of the users. `store` is Feast's RedisOnlineStore, `key` makes a user's entity key. Safe to
    call from threads.
    """

    def __init__(self, config: "RepoConfig", store: Any, key: "Callable[[int | str], EntityKey]") -> None:
        self._config = config
        self._store = store
        self._key = key
        # A user's hash never changes, and Feast takes longer to name it than to read it. Only those of users that the
        # store knows are kept: anybody may send ids.
        self._hashes: BoundedCache[int | str, bytes] = BoundedCache(HASHES_BYTES)
        self._last: tuple[tuple[ViewRead, ...], Layout] | None = None

    @staticmethod
    def fits(store: Any) -> bool:
        """Whether an online store is one that this reads."""
        return (type(store).__module__, type(store).__name__) == ("feast.infra.online_stores.redis", "RedisOnlineStore")

    def __call__(self, reads: tuple[ViewRead, ...], users: Sequence[int | str]) -> list[ViewRows]:
        """The rows of each view, in the order of `reads`."""
        fields, views = self._layout(reads)
        hashes = [self._hash(user) for user in users]
        rows = self._store._read_hash_fields(self._config, [(name, fields) for name in hashes])
        self._keep_known(users, hashes, rows)
        return self._rows(views, rows)

    async def in_loop(self, reads: tuple[ViewRead, ...], users: Sequence[int | str]) -> list[ViewRows]:
        """As a call, by a connection of the event loop that awaits it; always of the same loop."""
        fields, views = self._layout(reads)
        client = await self._store._get_client_async(self._config.online_store)
        hashes = [self._hash(user) for user in users]
        async with client.pipeline(transaction=False) as pipe:
            for name in hashes:
                pipe.hmget(name, fields)
            rows = await pipe.execute()
        self._keep_known(users, hashes, rows)
        return self._rows(views, rows)

    async def close(self) -> None:
        """Close the connection of the event loop."""
        client = self._store._client_async
        if client is not None:
            await client.aclose()

    def _rows(self, views: list[tuple[str, list[str], slice]], rows: Sequence[Sequence[Any]]) -> list[ViewRows]:
        return [
            self._store._convert_redis_values_to_protobuf([row[part] for row in rows], name, names)
            for name, names, part in views
        ]

    def _hash(self, user: int | str) -> bytes:
        found = self._hashes.get(user)
        return self._make_hash(user) if found is None else found

    def _keep_known(self, users: Sequence[int | str], hashes: Sequence[bytes], rows: Sequence[Sequence[Any]]) -> None:
        for user, name, row in zip(users, hashes, rows, strict=True):
            if self._hashes.get(user) is None and any(value is not None for value in row):
                self._hashes.keep(user, name)

    def _make_hash(self, user: int | str) -> bytes:
        (found,) = self._store._generate_redis_keys_for_entities(self._config, [self._key(user)])
        return bytes(found)

    def _layout(self, reads: tuple[ViewRead, ...]) -> Layout:
        last = self._last
        if last is None or last[0] is not reads:  # by identity: comparing views costs more than all the rest
            self._last = last = (reads, self._make_layout(reads))
        return last[1]

    def _make_layout(self, reads: tuple[ViewRead, ...]) -> Layout:
        from feast.infra.online_stores.redis import _versioned_fv_name

        fields: list[Any] = []
        views = []
        for read in reads:
            name = _versioned_fv_name(read.view, self._config)
            names, of_view = self._store._generate_hset_keys_for_features(read.view, list(read.features), name)
            views.append((name, names, slice(len(fields), len(fields) + len(of_view))))
            fields += of_view
        return fields, views
