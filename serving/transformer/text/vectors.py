"""A bounded cache of text vectors: most requests repeat a text, and encoding one costs ten times all the rest."""

import asyncio
import sys
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from polytask.errors import ContractError
from polytask.text.templates import TextTokenizer
from serving.transformer.concurrency.bounded_cache import ENTRY_BYTES
from serving.transformer.concurrency.deadline import Deadline

# What a text with its vector may take on average; one of 2000 characters outside of the BMP takes 8 kB.
MEAN_BYTES = 4096

Encode = Callable[[NDArray[np.int64], NDArray[np.int64], Deadline], Awaitable[NDArray[np.float32]]]


class Encoded(NamedTuple):
    """A text's vector (D,), and whether the text was cut to the model's length."""

    vector: NDArray[np.float32]
    truncated: bool


Vectors = dict[str, Encoded]


class TextVectors:
    """Vectors of texts, (B, D). The least recently used text makes room for a new one, when there are `capacity`
    texts, or when all of them take 4 KiB times that.

    `encode` takes input_ids (B, T) and attention_mask (B, T) and returns vectors (B, D). A text that several calls of
    one event loop need at once is encoded once. `count` hears of how many texts it had a `hit`, `shared` or a `miss`,
    and how many it encoded `ahead` of calls.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        encode: Encode,
        dim: int,
        capacity: int = 20_000,
        count: Callable[[str, int], None] = lambda source, texts: None,
    ) -> None:
        if capacity < 1:
            raise ValueError(f"capacity {capacity}, allowed: 1 or more")
        self._tokenizer = tokenizer
        self._encode = encode
        self._dim = dim
        self._capacity = capacity
        self._vectors: OrderedDict[str, Encoded] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._count = count
        # Text -> the vectors that another call is getting, its own among them.
        self._pending: dict[str, asyncio.Future[Vectors]] = {}

    def __len__(self) -> int:
        """Number of texts in the cache."""
        return len(self._vectors)

    async def __call__(self, texts: Sequence[str], deadline: Deadline) -> tuple[NDArray[np.float32], list[bool]]:
        """(B,) texts -> vectors (B, D), and which texts were cut (B,).

        What is neither cached nor being encoded for another call is encoded in one.
        """
        wanted = list(dict.fromkeys(texts))
        found = self._find(wanted)
        self._count("hit", len(found))
        while missing := [text for text in wanted if text not in found]:
            others = {self._pending[text] for text in missing if text in self._pending}
            new = [text for text in missing if text not in self._pending]
            # First what only this call encodes: two calls that wait for each other's texts then both get on.
            if new:
                self._count("miss", len(new))
                found |= await self._encode_new(new, deadline)
            for other in others:
                # Where the other call failed, or its caller left, it brings nothing, and the loop encodes the rest.
                shared = await self._wait(other, deadline)
                mine = {text: shared[text] for text in missing if text in shared}
                self._count("shared", len(mine))
                found |= mine
        return np.stack([found[text].vector for text in texts]), [found[text].truncated for text in texts]

    async def keep(self, texts: Sequence[str], deadline: Deadline) -> None:
        """Encode what is neither cached nor being encoded, for calls to come."""
        with self._lock:
            new = [text for text in dict.fromkeys(texts) if text not in self._vectors and text not in self._pending]
        if new:
            await self._encode_new(new, deadline)
            self._count("ahead", len(new))

    async def _encode_new(self, texts: list[str], deadline: Deadline) -> Vectors:
        """Encode some texts while other calls may wait for them."""
        with self.encoding(texts) as made:
            input_ids, attention_mask, truncated = self._tokenizer.tokens(texts)
            vectors = await self._encode(input_ids, attention_mask, deadline)
            made.update(self.encoded(texts, vectors, truncated))
        return made

    def all_new(self, texts: Sequence[str]) -> bool:
        """Whether no text is there twice, or cached, or being encoded for another call."""
        with self._lock:
            return len(set(texts)) == len(texts) and not any(
                text in self._vectors or text in self._pending for text in texts
            )

    @contextmanager
    def encoding(self, texts: Sequence[str]) -> Iterator[Vectors]:
        """Encode texts inside the block, and put what comes out into what it gives; other calls wait for that."""
        made: Vectors = {}
        future: asyncio.Future[Vectors] = asyncio.get_running_loop().create_future()
        self._pending.update(dict.fromkeys(texts, future))
        try:
            yield made
            self._keep(made)
        finally:
            for text in texts:
                if self._pending.get(text) is future:
                    del self._pending[text]
            future.set_result(made)

    def encoded(self, texts: Sequence[str], vectors: NDArray[np.float32], truncated: Sequence[bool]) -> Vectors:
        """What the cache holds of texts. Raises ContractError where `vectors` are not (B, D)."""
        if vectors.shape != (len(texts), self._dim):
            raise ContractError(f"text vectors of shape {list(vectors.shape)}, expected {[len(texts), self._dim]}")
        # Copies: a row of the batch would keep the whole batch alive.
        rows = (np.array(vector, dtype=np.float32) for vector in vectors)
        return dict(zip(texts, map(Encoded, rows, truncated), strict=True))

    async def _wait(self, other: "asyncio.Future[Vectors]", deadline: Deadline) -> Vectors:
        try:
            # Shielded: a call that waits no longer must not end the wait of the others.
            return await asyncio.wait_for(asyncio.shield(other), deadline.remaining("text vectors"))
        except TimeoutError as error:
            raise deadline.passed("text vectors") from error

    def clear(self) -> None:
        """Forget everything: the vectors of another encoder are worth nothing."""
        with self._lock:
            self._vectors.clear()
            self._bytes = 0

    def _find(self, texts: Sequence[str]) -> Vectors:
        with self._lock:
            found = {text: self._vectors[text] for text in dict.fromkeys(texts) if text in self._vectors}
            for text in found:
                self._vectors.move_to_end(text)
            return found

    def _keep(self, vectors: Vectors) -> None:
        with self._lock:
            for text, encoded in vectors.items():
                if text not in self._vectors:
                    self._bytes += _bytes_of(text, encoded)
                self._vectors[text] = encoded
            while len(self._vectors) > self._capacity or self._bytes > MEAN_BYTES * self._capacity:
                self._bytes -= _bytes_of(*self._vectors.popitem(last=False))


def _bytes_of(text: str, encoded: Encoded) -> int:
    return sys.getsizeof(text) + sys.getsizeof(encoded.vector) + ENTRY_BYTES
