"""One call of a mixed load over gRPC or over REST: the code it ends with, in the names of gRPC, and its response."""

import http.client
import json
import socket
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from benchmarks.load import METHOD
from benchmarks.mixed_calls import tensors_of

Tensors = Mapping[str, NDArray[Any]]
# Code, the text of a refusal, the tensors of a response.
Ended = tuple[str, str, Tensors]
CODES = {
    200: "OK",
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
PATH = "/v2/models/recommender/infer"


class Channel(Protocol):
    """Where a caller sends its calls, given as ModelInferRequest bytes."""

    def call(self, message: bytes, seconds: float) -> Ended:
        """One call. DEADLINE_EXCEEDED when it takes longer than `seconds`."""

    def leave(self, message: bytes, after_seconds: float, seconds: float) -> Ended:
        """One call whose caller leaves after a while: CANCELLED, or its end where that came first."""

    def close(self) -> None:
        """Close the connection."""


class GrpcChannel:
    """`host:port` over gRPC."""

    def __init__(self, target: str) -> None:
        import grpc

        options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(target, options)
        self._infer = self._channel.unary_unary(METHOD)

    def call(self, message: bytes, seconds: float) -> Ended:
        """See `Channel`."""
        import grpc

        try:
            return "OK", "", tensors_of(self._infer(message, timeout=seconds))
        except grpc.RpcError as error:
            return error.code().name, error.details() or "", {}

    def leave(self, message: bytes, after_seconds: float, seconds: float) -> Ended:
        """See `Channel`."""
        future = self._infer.future(message, timeout=seconds)
        time.sleep(after_seconds)
        if future.cancel():
            return "CANCELLED", "", {}
        return future.code().name, future.details() or "", {}

    def close(self) -> None:
        """See `Channel`."""
        self._channel.close()


class RestChannel:
    """A REST endpoint, `http://host:port`, with one connection that is kept."""

    def __init__(self, url: str) -> None:
        self._place = urlsplit(url).netloc
        self._connection: http.client.HTTPConnection | None = None

    def call(self, message: bytes, seconds: float) -> Ended:
        """See `Channel`."""
        return self._attempt(message, seconds, self._answer)

    def leave(self, message: bytes, after_seconds: float, seconds: float) -> Ended:
        """See `Channel`. The connection is closed under the call, as a client does that goes away."""

        def wait(connection: http.client.HTTPConnection) -> Ended:
            assert connection.sock is not None
            connection.sock.settimeout(after_seconds or 1e-3)
            try:
                return self._answer(connection)
            except TimeoutError:
                self.close()
                return "CANCELLED", "", {}

        return self._attempt(message, seconds, wait)

    def close(self) -> None:
        """See `Channel`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _attempt(self, message: bytes, seconds: float, then: Callable[[http.client.HTTPConnection], Ended]) -> Ended:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._place, timeout=seconds)
        connection = self._connection
        try:
            connection.request("POST", PATH, rest_body(message), {"Content-Type": "application/json"})
            if connection.sock is not None:
                connection.sock.settimeout(seconds)
            return then(connection)
        except TimeoutError:
            self.close()
            return "DEADLINE_EXCEEDED", "", {}
        except (OSError, http.client.HTTPException, socket.gaierror) as error:
            self.close()
            return "UNAVAILABLE", repr(error), {}

    def _answer(self, connection: http.client.HTTPConnection) -> Ended:
        response = connection.getresponse()
        content = json.loads(response.read())
        code = CODES.get(response.status, f"HTTP {response.status}")
        if code != "OK":
            return code, str(content.get("error", content)), {}
        return code, "", {output["name"]: _values(output) for output in content["outputs"]}


def rest_body(message: bytes) -> bytes:
    """A message of raw tensors as the JSON body of the same call. Raises ValueError if JSON cannot represent it."""
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest.FromString(message)
    inputs = [
        {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape), "data": _elements(tensor, raw)}
        for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    ]
    outputs = [{"name": output.name} for output in request.outputs]
    return json.dumps({"inputs": inputs, **({"outputs": outputs} if outputs else {})}).encode()


def in_json(message: bytes) -> bool:
    """Whether the JSON body is equivalent to a message: it is not if the bytes of the message are malformed."""
    try:
        rest_body(message)
    except (ValueError, struct.error):
        return False
    return True


def _elements(tensor: Any, raw: bytes) -> list[Any]:
    if tensor.datatype == "BYTES":
        texts, offset = [], 0
        while offset < len(raw):
            (length,) = struct.unpack_from("<I", raw, offset)
            texts.append(raw[offset + 4 : offset + 4 + length].decode("utf-8"))
            offset += 4 + length
        return texts
    found: list[Any] = np.frombuffer(raw, {"INT64": "<i8", "FP32": "<f4"}[tensor.datatype]).tolist()
    return found


def _values(output: Mapping[str, Any]) -> NDArray[Any]:
    """An output's values as the gRPC client would have them: texts are bytes."""
    types = {"INT64": np.int64, "FP32": np.float32, "BOOL": np.bool_}
    if output["datatype"] == "BYTES":
        values = np.array([text.encode() for text in output["data"]], dtype=object)
    else:
        values = np.array(output["data"], dtype=types[output["datatype"]])
    return values.reshape(output["shape"])
