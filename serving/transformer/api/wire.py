"""Tensors of the Open Inference Protocol v2, decoded strictly: every error names the tensor."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod
from typing import Any

from polytask.errors import RequestError
from polytask.scenario.schema import Table

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_DIMENSIONS = 8
MAX_ELEMENTS = 2**31  # no body has as many


@dataclass(frozen=True)
class InputTensor:
    """One input as it came: `raw` bytes (little endian, row major) or `data`, a flat or nested list."""

    name: str
    datatype: str
    shape: Sequence[int]
    data: Sequence[Any] | None = None
    raw: bytes | None = None


def key_datatype(table: Table) -> str:
    """The tensor datatype of a table's keys."""
    return "INT64" if table.key_type == "integer" else "BYTES"


def decode(tensor: InputTensor, datatype: str) -> list[Any]:
    """The elements of a tensor in row-major order: int for INT64, str for BYTES.

    Raises RequestError where the datatype is another, the number of elements does not match the shape, or an element
    is of another type: NumPy would cut 1.5 to 1 and take true for 1.
    """
    name = tensor.name
    if tensor.datatype != datatype:
        raise RequestError(name, f"datatype {tensor.datatype!r}, allowed: {datatype}")
    count = element_count(tensor)
    if tensor.raw is not None:
        elements = _raw_bytes(tensor, count) if datatype == "BYTES" else _raw_int64(tensor, count)
    else:
        data = tensor.data or ()
        # No more than one element too many is read, however many there are.
        elements = list(islice(_flat(data, len(tensor.shape)), min(count, MAX_ELEMENTS) + 1))
        if len(elements) > count:
            raise _wrong_count(tensor, max(len(data), len(elements)), count)
    if len(elements) != count:
        raise _wrong_count(tensor, len(elements), count)
    check = _text if datatype == "BYTES" else _integer
    return [check(name, element) for element in elements]


def element_count(tensor: InputTensor) -> int:
    """The number of elements of the shape. Raises RequestError for a size below 0, and for too many dimensions."""
    shape = tensor.shape
    if len(shape) > MAX_DIMENSIONS:
        raise RequestError(tensor.name, f"shape of {len(shape)} dimensions, allowed: at most {MAX_DIMENSIONS}")
    if any(isinstance(size, bool) or not isinstance(size, int) or size < 0 for size in shape):
        raise RequestError(tensor.name, f"shape {list(shape)}, allowed: sizes of 0 or more")
    return prod(shape)


def _wrong_count(tensor: InputTensor, found: int, count: int) -> RequestError:
    return RequestError(tensor.name, f"{found} elements, shape {list(tensor.shape)} requires {count}")


def _flat(data: Sequence[Any], depth: int) -> Iterator[Any]:
    """The elements of a list that may be nested as deep as the shape has dimensions."""
    for element in data:
        if isinstance(element, (list, tuple)) and depth > 1:
            yield from _flat(element, depth - 1)
        else:
            yield element


def _raw_int64(tensor: InputTensor, count: int) -> list[Any]:
    raw = tensor.raw or b""
    if len(raw) % 8:
        raise RequestError(tensor.name, f"{len(raw)} raw bytes, allowed: a multiple of 8 (INT64)")
    if len(raw) // 8 != count:
        raise _wrong_count(tensor, len(raw) // 8, count)
    return list(struct.unpack(f"<{count}q", raw))


def _raw_bytes(tensor: InputTensor, count: int) -> list[Any]:
    """At most `count` elements and one, each led by its length as 4 bytes."""
    raw, name = tensor.raw or b"", tensor.name
    elements: list[Any] = []
    offset = 0
    while offset < len(raw):
        if len(elements) == count:
            raise RequestError(name, f"more than {count} elements, shape {list(tensor.shape)} requires {count}")
        end = offset + 4
        length = int.from_bytes(raw[offset:end], "little")
        if end > len(raw) or end + length > len(raw):
            raise RequestError(name, f"an element reaches past the {len(raw)} raw bytes")
        elements.append(raw[end : end + length])
        offset = end + length
    return elements


def _integer(name: str, element: Any) -> int:
    if isinstance(element, float) and abs(element) > INT64_MAX:  # the JSON parser's type for an integer of that size
        raise RequestError(name, "an element is out of range, allowed: integers of 64 bits")
    if isinstance(element, bool) or not isinstance(element, int):
        raise RequestError(name, f"an element is of type {type(element).__name__}, allowed: integers of 64 bits")
    if not INT64_MIN <= element <= INT64_MAX:
        raise RequestError(name, "an element is out of range, allowed: integers of 64 bits")
    return element


def _text(name: str, element: Any) -> str:
    if isinstance(element, bytes):
        try:
            return element.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestError(name, "is not UTF-8, allowed: elements that are") from error
    if not isinstance(element, str):
        raise RequestError(name, f"an element is of type {type(element).__name__}, allowed: text")
    return utf8_text(name, element)


def utf8_text(name: str, text: str) -> str:
    """`text` itself. Raises RequestError where it holds half of a surrogate pair, as of an emoji that was cut in two:
    JSON can name it and UTF-8 cannot encode it, so that neither a store nor a tokenizer nor a response takes it.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        found = f"U+{ord(text[error.start]):04X} at character {error.start}"
        raise RequestError(name, f"is not UTF-8: {found}, allowed: no halves of surrogate pairs") from error
    return text
