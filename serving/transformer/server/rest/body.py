"""Bodies of REST inference requests: JSON, or a JSON object and then the raw bytes of the inputs that are not in it.

KServe's own reader converts raw bytes to Python objects before the inputs are checked, and reports bytes that are cut
short or not UTF-8 as 500; FastAPI parses JSON before a call is admitted, and takes seconds for some MB. Here the raw
bytes stay as they are: `wire.decode` checks them with their datatype and shape, as it does for gRPC.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kserve import InferInput, InferRequest
from kserve.protocol.infer_type import RequestedOutput
from kserve.protocol.rest.v2_datamodels import Parameters, RequestOutput
from pydantic import BaseModel, ValidationError

from polytask.errors import RequestError
from serving.transformer.api.wire import MAX_DIMENSIONS, utf8_text
from serving.transformer.server.limits import MAX_ID_BYTES, MAX_INPUTS, MAX_OUTPUTS, MAX_PARAMETERS
from serving.transformer.server.rest.json_document import load_json

JSON_LENGTH = "inference-header-content-length"
SIZE = "binary_data_size"
# No body is as long as a number with so many digits.
DIGITS = 20


class JsonInput(BaseModel):
    """An input with `data`, or in a binary body with the parameter `binary_data_size`."""

    name: str
    shape: list[int]
    datatype: str
    parameters: Parameters | None = None
    data: list[Any] | None = None


class JsonRequest(BaseModel):
    """The JSON object of a body."""

    id: str | None = None
    parameters: Parameters | None = None
    inputs: list[JsonInput]
    outputs: list[RequestOutput] | None = None


@dataclass(frozen=True)
class RestCall:
    """An inference request as it came, to be parsed once the call has a place.

    `json_length` is the header of the binary extension, None for a body that is JSON as a whole. Content-Type is
    not read: tritonclient and curl send another one, or none. `model_version` is '' where the path names none.
    """

    body: bytes
    json_length: str | None
    model_name: str
    model_version: str
    most_values: int

    def parse(self) -> InferRequest:
        """The request. Raises RequestError with the name of the field."""
        end = len(self.body) if self.json_length is None else _json_end(self.json_length, len(self.body))
        request = _validated(load_json(self.body[:end], self.most_values))
        inputs = []
        for position, tensor in enumerate(request.inputs):
            read = InferInput(tensor.name, tensor.shape, tensor.datatype, tensor.data, tensor.parameters)
            if tensor.data is None:
                if self.json_length is None:
                    raise RequestError(tensor.name[:60], f"inputs.{position}.data: Field required")
                start, end = end, end + _size(position, tensor, len(self.body) - end)
                read._raw_data = self.body[start:end]
            inputs.append(read)
        if inputs and end != len(self.body):
            raise RequestError("request body", f"{len(self.body) - end} bytes follow the last input, allowed: none")
        return InferRequest(
            self.model_name,
            inputs,
            request_id=request.id,
            parameters=request.parameters,
            request_outputs=[RequestedOutput(one.name, one.parameters) for one in request.outputs or ()] or None,
        )


def _json_end(length: str, size: int) -> int:
    end = int(length) if length.isascii() and length.isdigit() and len(length) < DIGITS else -1
    if not 0 <= end <= size:
        raise RequestError(JSON_LENGTH, f"{length[:20]!r}, allowed: 0 to {size}, the bytes of the body")
    return end


def _validated(document: Any) -> JsonRequest:
    _count(document)
    try:
        request = JsonRequest.model_validate(document)
    except ValidationError as error:
        raise RequestError(*_first_error(error, document)) from error
    identifier = utf8_text("id", request.id or "")  # the response repeats it
    if (size := len(identifier.encode())) > MAX_ID_BYTES:
        raise RequestError("id", f"{size} bytes, allowed: at most {MAX_ID_BYTES}")
    return request


def _count(document: Any) -> None:
    """Refuse lists that are too long before they are validated: each wrong entry is an error of its own."""
    if not isinstance(document, dict):
        return
    _at_most(document, "inputs", MAX_INPUTS)
    _at_most(document, "outputs", MAX_OUTPUTS)
    _at_most(document, "parameters", MAX_PARAMETERS)
    for group in ("inputs", "outputs"):
        entries = document.get(group)
        for position, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, dict):
                _at_most(entry, "shape", MAX_DIMENSIONS, f"{group}.{position}.")
                _at_most(entry, "parameters", MAX_PARAMETERS, f"{group}.{position}.")


def _at_most(holder: dict[str, Any], name: str, most: int, place: str = "") -> None:
    value = holder.get(name)
    if isinstance(value, (list, dict)) and len(value) > most:
        raise RequestError(f"{place}{name}", f"{len(value)} entries, allowed: at most {most}")


def _first_error(error: ValidationError, document: Any) -> tuple[str, str]:
    """The names of tensor and field of the first error, and its message."""
    detail = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place: Sequence[int | str] = detail["loc"]
    field = ".".join(str(part)[:60] for part in place) or "request body"
    if len(place) > 1 and place[0] == "inputs" and isinstance(place[1], int):
        tensor = document["inputs"][place[1]]
        name = tensor.get("name") if isinstance(tensor, dict) else None
        field = f"{name[:60]}: {field}" if isinstance(name, str) else field
    return field, detail["msg"]


def _size(position: int, tensor: JsonInput, left: int) -> int:
    """The bytes of a tensor, of which `left` are in the body."""
    parameters = tensor.parameters or {}
    if SIZE not in parameters:
        raise RequestError(tensor.name[:60], f"inputs.{position}.data: Field required, or the parameter {SIZE}")
    size = parameters[SIZE]
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= left:
        found = repr(size)[:60]
        raise RequestError(tensor.name[:60], f"{SIZE} {found}, allowed: 0 to {left}, the bytes left in the body")
    return size
