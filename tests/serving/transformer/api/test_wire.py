"""Tensors as they come over gRPC (raw bytes, typed lists) and REST (JSON lists)."""

import struct
from typing import Any

import pytest

from polytask.errors import RequestError
from serving.transformer.api.wire import InputTensor, decode


def nested(depth: int) -> list[Any]:
    """A list in a list, and so on."""
    inner: list[Any] = [1]
    for _ in range(depth):
        inner = [inner]
    return inner


def test_raw_and_listed_elements_are_read_alike():
    raw = InputTensor("k", "INT64", [2, 1], raw=struct.pack("<2q", 5, -7))
    assert decode(raw, "INT64") == decode(InputTensor("k", "INT64", [2, 1], data=[[5], [-7]]), "INT64") == [5, -7]
    words = b"\x02\x00\x00\x00hi\x00\x00\x00\x00"
    assert decode(InputTensor("query", "BYTES", [2], raw=words), "BYTES") == ["hi", ""]
    assert decode(InputTensor("query", "BYTES", [2], data=[b"hi", ""]), "BYTES") == ["hi", ""]


@pytest.mark.parametrize(
    ("tensor", "datatype", "message"),
    [
        (InputTensor("a", "FP32", [1], data=[1.0]), "INT64", "datatype 'FP32', allowed: INT64"),
        (InputTensor("a", "INT64", [1], data=[1.5]), "INT64", "of type float"),
        (InputTensor("a", "INT64", [1], data=[1e30]), "INT64", "out of range, allowed: integers of 64 bits"),
        (InputTensor("a", "INT64", [1], data=[True]), "INT64", "of type bool"),
        (InputTensor("a", "INT64", [1], data=[None]), "INT64", "of type NoneType"),
        (InputTensor("a", "INT64", [1], data=[2**63]), "INT64", "integers of 64 bits"),
        (InputTensor("a", "INT64", [2], data=[1]), "INT64", r"1 elements, shape \[2\] requires 2"),
        (InputTensor("a", "INT64", [-1], data=[1]), "INT64", "sizes of 0 or more"),
        (InputTensor("a", "INT64", [1], raw=b"\x00" * 7), "INT64", "multiple of 8"),
        (InputTensor("a", "BYTES", [1], data=[3]), "BYTES", "allowed: text"),
        (InputTensor("a", "BYTES", [1], data=[b"\xff"]), "BYTES", "not UTF-8"),
        (InputTensor("a", "BYTES", [1], data=["film \ud83d"]), "BYTES", r"not UTF-8: U\+D83D at character 5"),
        (InputTensor("a", "BYTES", [1], raw=b"\x03\x00\x00\x00\xed\xa0\xbd"), "BYTES", "not UTF-8"),
        (InputTensor("a", "INT64", [1], data=[nested(500)]), "INT64", "an element is of type list"),
        (InputTensor("a", "BYTES", [1], raw=b"\x05\x00\x00\x00hi"), "BYTES", "past the 6 raw bytes"),
        (InputTensor("a", "BYTES", [1], raw=b"\x05\x00"), "BYTES", "past the 2 raw bytes"),
    ],
)
def test_bad_elements_are_refused_with_the_field(tensor: InputTensor, datatype: str, message: str):
    with pytest.raises(RequestError, match=message) as caught:
        decode(tensor, datatype)
    assert caught.value.field == "a"
