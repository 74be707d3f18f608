"""How many parts a gRPC request has, counted on its bytes: protobuf takes a second to make three million empty tensors.

A message is a sequence of fields: a tag, which is 8 times the field's number plus a wire type, and what follows it.
Only the levels that may repeat are entered: the message, its tensors, and their typed contents.
"""

from collections.abc import Iterator

import numpy as np

from polytask.errors import RequestError

# To parse less takes a few milliseconds, whatever it is.
COUNTED_BYTES = 16 * 2**10
MAX_FIELDS = 1024  # of the message: its tensors, requested outputs, parameters and raw contents
MAX_TENSOR_FIELDS = 256
INPUTS, CONTENTS = 5, 5
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Of InferTensorContents: fp32_contents and fp64_contents have elements of a fixed size, bytes_contents a field each.
FP32, FP64, TEXTS = 6, 7, 8

# Number, wire type, and where the content is.
Field = tuple[int, int, int, int]


def check_size(message: bytes, most_elements: int) -> None:
    """Compare the parts of a ModelInferRequest with what a request may have.

    Raises RequestError where there are too many tensors, parameters or other fields, or more than `most_elements`
    elements in the typed contents of all tensors, and where the bytes are no message.
    """
    if len(message) <= COUNTED_BYTES:
        return
    elements = 0
    for count, (number, kind, start, end) in enumerate(_fields(message, 0, len(message)), start=1):
        if count > MAX_FIELDS:
            raise RequestError("message", f"more than {MAX_FIELDS} fields, allowed: at most {MAX_FIELDS}")
        if number != INPUTS or kind != BYTES:
            continue
        for of_tensor, (inner, wire, first, last) in enumerate(_fields(message, start, end), start=1):
            if of_tensor > MAX_TENSOR_FIELDS:
                raise RequestError("inputs", f"a tensor of more than {MAX_TENSOR_FIELDS} fields, allowed: at most that")
            if inner == CONTENTS and wire == BYTES:
                elements += _elements(message, first, last, most_elements - elements)
                if elements > most_elements:
                    raise RequestError("inputs", f"more than {most_elements} elements, allowed: at most that")


def _elements(message: bytes, start: int, end: int, most: int) -> int:
    """The elements of typed contents, or more than `most`."""
    count = 0
    while start < end and count <= most:
        # The usual element of bytes_contents, of less than 128 bytes, without a generator's cost.
        if message[start] == 8 * TEXTS + BYTES and start + 1 < end and message[start + 1] < 128:
            start += 2 + message[start + 1]
            count += 1
            continue
        number, kind, first, start = _field(message, start, end)
        if kind != BYTES or number == TEXTS:
            count += 1
        elif number in (FP32, FP64):
            count += (start - first) // (4 if number == FP32 else 8)
        else:  # the last byte of each number is below 128
            count += int(np.count_nonzero(np.frombuffer(message, np.uint8, start - first, first) < 128))
    return count


def _fields(message: bytes, start: int, end: int) -> Iterator[Field]:
    while start < end:
        field = _field(message, start, end)
        yield field
        start = field[3]


def _field(message: bytes, start: int, end: int) -> Field:
    tag, start = _varint(message, start, end)
    number, kind = tag >> 3, tag & 7
    if kind == VARINT:
        last = _varint(message, start, end)[1]
    elif kind == BYTES:
        size, start = _varint(message, start, end)
        last = start + size
    elif kind in (FIXED64, FIXED32):
        last = start + (8 if kind == FIXED64 else 4)
    else:
        raise _malformed()
    if last > end:
        raise _malformed()
    return number, kind, start, last


def _varint(message: bytes, start: int, end: int) -> tuple[int, int]:
    """A number of at most ten bytes, and where it ends."""
    value = 0
    for position in range(start, min(end, start + 10)):
        byte = message[position]
        value |= (byte & 127) << 7 * (position - start)
        if byte < 128:
            return value, position + 1
    raise _malformed()


def _malformed() -> RequestError:
    return RequestError("message", "is not a ModelInferRequest: its bytes end within a field, or have an unknown type")
