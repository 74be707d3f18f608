"""The protocol's own gRPC messages, read and written without KServe's classes between: those double a call's cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from kserve.constants.constants import GRPC_CONTENT_DATATYPE_MAPPINGS
from kserve.errors import InvalidInput
from kserve.protocol.grpc.grpc_predict_v2_pb2 import ModelInferRequest, ModelInferResponse

from serving.transformer.api.answers import ResponseTensor
from serving.transformer.api.wire import MAX_DIMENSIONS, InputTensor
from serving.transformer.concurrency.bounded_cache import BoundedCache
from serving.transformer.server.limits import MAX_ID_BYTES, MAX_INPUTS, MAX_OUTPUTS, MAX_PARAMETERS

LED_BYTES = 16 * 2**20
RAW_TYPES: dict[str, np.dtype[Any]] = {"INT64": np.dtype("<i8"), "FP32": np.dtype("<f4"), "BOOL": np.dtype(np.bool_)}


def input_tensors(request: ModelInferRequest) -> list[InputTensor]:
    """The inputs of a message. Raises InvalidInput for a datatype that the protocol does not know, and for a message
    with more parts than a request may have.
    """
    _count(request)
    for tensor in request.inputs:
        if tensor.datatype not in GRPC_CONTENT_DATATYPE_MAPPINGS:
            allowed = ", ".join(GRPC_CONTENT_DATATYPE_MAPPINGS)
            raise InvalidInput(f"{tensor.name[:60]}: datatype {tensor.datatype[:60]!r}, allowed: {allowed}")
    raw = request.raw_input_contents
    return [
        InputTensor(tensor.name, tensor.datatype, list(tensor.shape), raw=raw[position])
        if raw
        else InputTensor(tensor.name, tensor.datatype, list(tensor.shape), _contents(tensor))
        for position, tensor in enumerate(request.inputs)
    ]


def response_message(
    request: ModelInferRequest,
    identifier: str,
    version: str,
    answer: Sequence[ResponseTensor],
    reported: Mapping[str, str],
) -> ModelInferResponse:
    """The response to a message, with the given parameters. A request in raw bytes gets raw bytes."""
    response = ModelInferResponse(model_name=request.model_name, model_version=version, id=identifier)
    for name, text in reported.items():
        response.parameters[name].string_param = text
    raw = bool(request.raw_input_contents)
    for tensor in answer:
        output = response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.values.shape)
        if raw:
            response.raw_output_contents.append(raw_bytes(tensor))
        else:
            values = tensor.values.ravel().tolist()
            field = getattr(output.contents, GRPC_CONTENT_DATATYPE_MAPPINGS[tensor.datatype])
            field.extend([value.encode() for value in values] if tensor.datatype == "BYTES" else values)
    return response


def raw_bytes(tensor: ResponseTensor) -> bytes:
    """The elements in row-major order, little endian; each text is led by its length as 4 bytes."""
    if tensor.datatype == "BYTES":
        return b"".join(map(_led, tensor.values.ravel().tolist()))
    return tensor.values.astype(RAW_TYPES[tensor.datatype], copy=False).tobytes()


# Titles and labels come again and again.
_led_texts: BoundedCache[str, bytes] = BoundedCache(LED_BYTES)


def _led(text: str) -> bytes:
    """A text as UTF-8, led by its length as 4 bytes."""
    led = _led_texts.get(text)
    if led is None:
        encoded = text.encode()
        led = len(encoded).to_bytes(4, "little") + encoded
        _led_texts.keep(text, led)
    return led


def _count(request: ModelInferRequest) -> None:
    parts = {
        "inputs": (len(request.inputs), MAX_INPUTS),
        "outputs": (len(request.outputs), MAX_OUTPUTS),
        "parameters": (len(request.parameters), MAX_PARAMETERS),
        "id": (len(request.id.encode()), MAX_ID_BYTES),
    }
    for tensor in request.inputs if len(request.inputs) <= MAX_INPUTS else ():
        parts[f"{tensor.name[:60]}: shape"] = (len(tensor.shape), MAX_DIMENSIONS)
    for name, (found, most) in parts.items():
        if found > most:
            raise InvalidInput(f"{name}: {found} {'bytes' if name == 'id' else 'entries'}, allowed: at most {most}")


def _contents(tensor: Any) -> Sequence[Any]:
    contents: Sequence[Any] = getattr(tensor.contents, GRPC_CONTENT_DATATYPE_MAPPINGS[tensor.datatype])
    return contents
