"""A bounded cache of text vectors: most requests repeat a text, and encoding one costs ten times all the rest."""

import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from polytask.errors import ContractError
from polytask.text import TextTokenizer
from serving.transformer.deadline import Deadline

Encode = Callable[[NDArray[np.int64], NDArray[np.int64], Deadline], Awaitable[NDArray[np.float32]]]


class TextVectors:
    """Vectors of texts, (B, D). The least recently used text makes room for a new one.

    `encode` takes input_ids (B, T) and attention_mask (B, T) and returns vectors (B, D).
    """

    def __init__(self, tokenizer: TextTokenizer, encode: Encode, dim: int, capacity: int = 20_000) -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity}, allowed: 1 or more")
        self._tokenizer = tokenizer
        self._encode = encode
        self._dim = dim
        self._capacity = capacity
        self._vectors: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Number of texts in the cache."""
        return len(self._vectors)

    async def __call__(self, texts: Sequence[str], deadline: Deadline) -> NDArray[np.float32]:
        """(B,) texts -> (B, D) vectors; all texts that are not cached are encoded in one call."""
        found = self._find(texts)
        new = [text for text in dict.fromkeys(texts) if text not in found]
        if new:
            vectors = await self._encode(*self._tokenizer(new), deadline)
            if vectors.shape != (len(new), self._dim):
                raise ContractError(f"text vectors of shape {list(vectors.shape)}, expected {[len(new), self._dim]}")
            found.update(zip(new, np.array(vectors, dtype=np.float32), strict=True))
            self._keep({text: found[text] for text in new})
        return np.stack([found[text] for text in texts])

    def clear(self) -> None:
        """Forget everything: the vectors of another encoder are worth nothing."""
        with self._lock:
            self._vectors.clear()

    def _find(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        with self._lock:
            found = {text: self._vectors[text] for text in dict.fromkeys(texts) if text in self._vectors}
            for text in found:
                self._vectors.move_to_end(text)
            return found

    def _keep(self, vectors: dict[str, NDArray[np.float32]]) -> None:
        with self._lock:
            for text, vector in vectors.items():
                # A copy: a row of the batch would keep the whole batch alive.
                self._vectors[text] = vector.copy()
            while len(self._vectors) > self._capacity:
                self._vectors.popitem(last=False)
