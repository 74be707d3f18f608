"""Caches hold so many bytes, whatever clients send, and nothing of users that the store does not know."""

from typing import Any

from serving.transformer.concurrency.bounded_cache import ENTRY_BYTES, BoundedCache
from serving.transformer.features.redis import RedisViews


def test_values_are_kept_until_they_take_the_bytes():
    cache: BoundedCache[int, str] = BoundedCache(1000 * ENTRY_BYTES)
    for key in range(10_000):
        cache.keep(key, "a", size=ENTRY_BYTES)
        assert cache.get(key) == "a"
        assert len(cache) * 2 * ENTRY_BYTES == cache.bytes <= 1000 * ENTRY_BYTES


def test_one_large_value_is_not_kept():
    cache: BoundedCache[str, str] = BoundedCache(80_000)
    cache.keep("small", "a")
    cache.keep("a" * 10_000, "")
    cache.keep("", "a" * 10_000)
    assert (len(cache), cache.get("small")) == (1, "a")


class Store:
    """The interface of Feast's store that `RedisViews` calls; it knows the users of `known`."""

    def __init__(self, known: set[str]):
        self.known, self.named = known, []

    def _generate_redis_keys_for_entities(self, config: Any, keys: list[str]) -> list[bytes]:
        self.named += keys
        return [key.encode() for key in keys]

    def _read_hash_fields(self, config: Any, wanted: list[tuple[bytes, list[Any]]]) -> list[list[bytes | None]]:
        return [[b"value" if name.decode() in self.known else None] for name, _ in wanted]


def test_the_hashes_of_known_users_are_kept_and_of_others_not():
    store = Store({"ann"})
    views = RedisViews(None, store, lambda user: user)  # type: ignore[arg-type, return-value]
    for _ in range(2):
        views((), ["ann", "nobody"])
    assert store.named == ["ann", "nobody", "nobody"]
