"""A cache with a bound on its bytes: an LRU cache counts entries, and one entry may be a string of megabytes."""

import sys
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

# Of an entry in addition to key and value: its place in the dictionary, and the key's tuple.
ENTRY_BYTES = 200


class BoundedCache(Generic[Key, Value]):
    """Keeps values until they take `most_bytes`, then forgets all of them; one that takes an eighth of it is not kept.

    Reading is one look into a dictionary: to note what was used last would cost more than most of the values here. Safe
    to use from threads: a race costs an entry, not the bound by more than that.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[Key, Value] = {}
        self.get = self._kept.get
        self.bytes = 0

    def __len__(self) -> int:
        """Number of values."""
        return len(self._kept)

    def keep(self, key: Key, value: Value, size: int | None = None) -> None:
        """Keep a value of `size` bytes, its key included; None is the size of both as `sys.getsizeof` has it."""
        size = ENTRY_BYTES + (sys.getsizeof(key) + sys.getsizeof(value) if size is None else size)
        if 8 * size > self._most_bytes:
            return
        if self.bytes + size > self._most_bytes:
            self._kept.clear()
            self.bytes = 0
        self._kept[key] = value
        self.bytes += size
