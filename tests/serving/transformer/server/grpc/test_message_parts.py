"""Messages with millions of parts are refused on their bytes, and others are not."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc.service_pb2 import ModelInferRequest

from polytask.errors import RequestError
from serving.transformer.server.grpc import message_parts
from serving.transformer.server.grpc.message_parts import COUNTED_BYTES, check_size

LARGE = "x" * COUNTED_BYTES  # an id that makes the bytes be counted
FIELDS = {
    "bool_contents": st.booleans(),
    "int_contents": st.integers(-(2**31), 2**31 - 1),
    "int64_contents": st.integers(-(2**63), 2**63 - 1),
    "uint_contents": st.integers(0, 2**32 - 1),
    "uint64_contents": st.integers(0, 2**64 - 1),
    "fp32_contents": st.floats(width=32),
    "fp64_contents": st.floats(),
    "bytes_contents": st.binary(max_size=300),
}


@st.composite
def messages(draw: st.DrawFn) -> tuple[Any, int]:
    """A large message, and the elements in its typed contents."""
    message, elements = ModelInferRequest(model_name="m", id=LARGE), 0
    for _ in range(draw(st.integers(0, 3))):
        tensor = message.inputs.add(name="t", datatype="d", shape=[1, 2**40])
        for name in draw(st.lists(st.sampled_from(sorted(FIELDS)), max_size=2)):
            values = draw(st.lists(FIELDS[name], max_size=20))
            getattr(tensor.contents, name).extend(values)
            elements += len(values)
    message.raw_input_contents.extend(draw(st.lists(st.binary(max_size=40), max_size=3)))
    message.parameters["p"].string_param = "v"
    return message, elements


@settings(deadline=None)
@given(messages())
def test_the_elements_of_a_message_are_counted(made: tuple[Any, int]):
    message, elements = made
    check_size(message.SerializeToString(), elements)
    if elements:
        with pytest.raises(RequestError, match=rf"inputs: more than {elements - 1} elements"):
            check_size(message.SerializeToString(), elements - 1)


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (b"\x2a\x00", "message: more than 1024 fields"),  # an empty tensor
        (b"\x22\x00", "message: more than 1024 fields"),  # an empty parameter
        (b"\x32\x00", "message: more than 1024 fields"),  # an empty requested output
        (b"\x3a\x00", "message: more than 1024 fields"),  # empty raw contents
        (b"\x0a\x00", "message: more than 1024 fields"),  # the model's name, again and again
    ],
)
def test_parts_without_content_are_counted(part: bytes, error: str):
    with pytest.raises(RequestError, match=error):
        check_size(part * 10**6, 100)


@pytest.mark.parametrize(
    ("part", "error"),
    [
        (b"\x18\x01", "a tensor of more than 256 fields"),  # a size of the shape, not packed
        (b"\x22\x00", "a tensor of more than 256 fields"),  # a parameter of the tensor
        (b"\x2a\x02\x42\x00", "a tensor of more than 256 fields|more than 100 elements"),
    ],
)
def test_the_parts_of_a_tensor_are_counted(part: bytes, error: str):
    content = part * 10**5
    message = ModelInferRequest.InferInputTensor.FromString(content[: len(part)])
    assert message.ByteSize() > 0
    size = len(content)
    tag = bytearray([0x2A])
    while size:
        tag.append(size & 127 | (128 if size > 127 else 0))
        size >>= 7
    with pytest.raises(RequestError, match=error):
        check_size(bytes(tag) + content, 100)


@given(st.binary(min_size=1, max_size=60))
def test_bytes_that_are_no_message_are_refused_or_left_to_protobuf(noise: bytes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_parts, "COUNTED_BYTES", 0)
        try:
            check_size(noise, 100)
        except RequestError as error:
            assert error.field in ("message", "inputs")
