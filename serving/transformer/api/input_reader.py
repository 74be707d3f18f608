"""Reads the tensors of one call as columns, lists and rows, whose shapes and keys it checks."""

from collections.abc import Callable
from typing import Any

from polytask.contract.names import KEYS, USER_ID
from polytask.errors import RequestError
from serving.transformer.api.wire import InputTensor, decode
from serving.triton.model_config import MAX_BATCH_SIZE


class InputReader:
    """Reads the tensors of a call with one batch size, the one of `user_id`."""

    def __init__(
        self, known: dict[str, tuple[str, list[int]]], tensors: dict[str, InputTensor], key_bytes: int
    ) -> None:
        self._known = known
        self._tensors = tensors
        self._key_bytes = key_bytes
        shape = list(tensors[USER_ID].shape)
        if len(shape) != 2 or shape[1] != 1 or not 1 <= shape[0] <= MAX_BATCH_SIZE:
            raise RequestError(USER_ID, f"shape {shape}, allowed: [B, 1] with B from 1 to {MAX_BATCH_SIZE}")
        self.batch = shape[0]

    def shape(self, name: str) -> list[int] | None:
        """The shape of an input, None when it is not there."""
        return list(self._tensors[name].shape) if name in self._tensors else None

    def values(self, name: str) -> list[Any] | None:
        """The elements of an input in row-major order, None when it is not there."""
        if name not in self._tensors:
            return None
        elements = decode(self._tensors[name], self._known[name][0])
        if name in KEYS and self._known[name][0] == "BYTES":
            for key in elements:
                _check_key(name, key, self._key_bytes)
        return elements

    def names(self, name: str, most: int) -> list[str] | None:
        """The elements of an input of at most `most` strings about the whole call, None when it is not there."""
        shape = self.shape(name)
        if shape is not None and (len(shape) != 1 or shape[0] > most):
            raise RequestError(name, f"shape {shape}, allowed: [n] with n up to {most}")
        return self.values(name)

    def column(self, name: str, check: Callable[[Any], Any] = lambda value: value) -> list[Any]:
        """One checked element per row of a (B, 1) input; an empty list when it is not there."""
        shape = self.shape(name)
        if shape is None:
            return []
        if shape != [self.batch, 1]:
            raise RequestError(name, f"shape {shape}, allowed: {[self.batch, 1]} as {USER_ID} has")
        return [check(value) for value in self.values(name) or ()]

    def sizes(self, name: str, limit: int) -> list[int]:
        """A size per row from a (1,) or (B, 1) input; an empty list when it is not there."""
        shape = self.shape(name)
        if shape is None:
            return []
        if shape not in ([1], [self.batch, 1]):
            raise RequestError(name, f"shape {shape}, allowed: [1] or {[self.batch, 1]}")
        values = self.values(name) or []
        for value in values:
            if not 1 <= value <= limit:
                raise RequestError(name, f"{value}, allowed: 1 to {limit}")
        return values * self.batch if len(values) < self.batch else values

    def table(self, name: str, longest: int) -> list[tuple[Any, ...]]:
        """The elements of each row of a (B, n) input with n <= `longest`; an empty list when it is not there."""
        shape = self.shape(name)
        if shape is None:
            return []
        if len(shape) != 2 or shape[0] != self.batch or shape[1] > longest:
            raise RequestError(name, f"shape {shape}, allowed: [{self.batch}, n] with n up to {longest}")
        values = self.values(name) or []
        return [tuple(values[row * shape[1] : (row + 1) * shape[1]]) for row in range(self.batch)]


def _check_key(name: str, key: str, most: int) -> None:
    # A character has at most 4 bytes: most keys need not be encoded to be measured.
    if 4 * len(key) > most and (size := len(key.encode("utf-8", "surrogatepass"))) > most:
        raise RequestError(name, f"a key of {size} bytes ({key[:20]!r}...), allowed: at most {most}")
