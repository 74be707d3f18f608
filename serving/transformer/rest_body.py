"""Requests of the binary tensor extension: a JSON object, then the raw bytes of the inputs that are not in it.

KServe's own reader converts raw bytes to Python objects before the inputs are checked, and reports bytes that are cut
short or not UTF-8 as 500. Here the bytes stay as they are: `wire.decode` checks them with their datatype and shape, as
it does for gRPC.
"""

from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from kserve import InferInput, InferRequest
from kserve.errors import InvalidInput
from kserve.protocol.infer_type import RequestedOutput
from kserve.protocol.rest.v2_datamodels import Parameters, RequestOutput
from pydantic import BaseModel, ValidationError

from serving.transformer.body_format import JSON_LENGTH

SIZE = "binary_data_size"
# No body is as long as a number with so many digits.
DIGITS = 20


class BinaryInput(BaseModel):
    """An input with `data`, or with the parameter `binary_data_size`."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: list[Any] | None = None


class BinaryRequest(BaseModel):
    """The JSON object of a binary body."""

    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[BinaryInput]
    outputs: list[RequestOutput] | None = None


def binary_request(body: bytes, length: str, model_name: str) -> InferRequest:
    """The request of a binary body whose JSON object has `length` bytes, a decimal number.

    Raises InvalidInput or RequestValidationError with the name of the field.
    """
    end = int(length) if length.isascii() and length.isdigit() and len(length) < DIGITS else -1
    if not 0 <= end <= len(body):
        raise InvalidInput(f"{JSON_LENGTH}: {length[:20]!r}, allowed: 0 to {len(body)}, the bytes of the body")
    try:
        document = orjson.loads(body[:end])
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"request body: is not JSON: {error}") from error
    try:
        request = BinaryRequest.model_validate(document)
    except ValidationError as error:
        details = [{**detail, "loc": ("body", *detail["loc"])} for detail in error.errors()]
        raise RequestValidationError(details, body=document) from error
    inputs = []
    for position, tensor in enumerate(request.inputs):
        read = InferInput(tensor.name, tensor.shape, tensor.datatype, tensor.data, tensor.parameters)
        if tensor.data is None:
            start, end = end, end + _size(position, tensor, len(body) - end)
            read._raw_data = body[start:end]
        inputs.append(read)
    if inputs and end != len(body):
        raise InvalidInput(f"request body: {len(body) - end} bytes follow the last input, allowed: none")
    outputs = [RequestedOutput(output.name, output.parameters) for output in request.outputs or ()]
    return InferRequest(
        model_name, inputs, request_id=request.id, parameters=request.parameters, request_outputs=outputs or None
    )


def _size(position: int, tensor: BinaryInput, left: int) -> int:
    """The bytes of a tensor, of which `left` are in the body."""
    parameters = tensor.parameters or {}
    if SIZE not in parameters:
        raise InvalidInput(f"{tensor.name}: inputs.{position}.data: Field required, or the parameter {SIZE}")
    size = parameters[SIZE]
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= left:
        raise InvalidInput(f"{tensor.name}: {SIZE} {size!r}, allowed: 0 to {left}, the bytes left in the body")
    return size
