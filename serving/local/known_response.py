"""The known-answer test: does this Triton move tensors unharmed?

Every local server has a small ONNX model in addition to the real ones. Before the server counts as ready, the model
gets requests with several types, shapes and batch sizes, and its outputs are compared value by value.
"""

import http.client
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polytask.errors import ServingError
from polytask.storage.atomic import atomic_folder, sha256_file

KNOWN_RESPONSE = "known_response"
BATCH_SIZES = (1, 3, 64)
WIDTH = 5
REQUEST_SECONDS = 20

CONFIG = f"""name: "{KNOWN_RESPONSE}"
backend: "onnxruntime"
max_batch_size: {max(BATCH_SIZES)}
input {{ name: "ids" data_type: TYPE_INT64 dims: [ -1 ] }}
input {{ name: "values" data_type: TYPE_FP32 dims: [ {WIDTH} ] }}
output {{ name: "tripled" data_type: TYPE_INT64 dims: [ -1 ] }}
output {{ name: "affine" data_type: TYPE_FP32 dims: [ {WIDTH} ] }}
output {{ name: "short" data_type: TYPE_INT32 dims: [ -1 ] }}
output {{ name: "positive" data_type: TYPE_BOOL dims: [ {WIDTH} ] }}
version_policy {{ specific {{ versions: [ 1 ] }} }}
instance_group {{ count: 1 kind: KIND_CPU }}
dynamic_batching {{ }}
parameters {{ key: "intra_op_thread_count" value {{ string_value: "1" }} }}
"""


def write_known_response(root: Path) -> Path:
    """Write a model repository with the one model below `root`, unless it is there. Needs the package `onnx`."""
    repository = root / f"known-answer-{sha256_file(Path(__file__))[:16]}"
    if not repository.is_dir():
        with atomic_folder(repository) as temporary:
            folder = temporary / KNOWN_RESPONSE / "1"
            folder.mkdir(parents=True)
            (folder.parent / "config.pbtxt").write_text(CONFIG, encoding="utf-8")
            (folder / "model.onnx").write_bytes(_model())
    return repository


def questions() -> list[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]]:
    """Inputs and their expected outputs. All numbers are exact in their type, so equal means equal."""
    pairs: list[tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]] = []
    for seed, batch in enumerate(BATCH_SIZES):
        random = np.random.default_rng(seed)
        ids = random.integers(-(2**30), 2**30, (batch, 2 + seed), dtype=np.int64)
        values = (random.integers(-1000, 1000, (batch, WIDTH)) / 8).astype(np.float32)
        short = ids.astype(np.int32)
        inputs: dict[str, NDArray[Any]] = {"ids": ids, "values": values}
        answers = {"tripled": ids * 3 + 1, "affine": values * 2 + np.float32(0.5), "short": short}
        pairs.append((inputs, {**answers, "positive": values > 0}))
    return pairs


def check_known_response(http_port: int, server: str) -> None:
    """Send the known requests to the server on this machine; `server` is its description in errors.

    Raises ServingError with the expected and the actual values of a wrong output.
    """
    for inputs, expected in questions():
        answers = _infer(http_port, inputs)
        for name, values in expected.items():
            actual = answers.get(name)
            if actual is None or actual.dtype != values.dtype or not np.array_equal(actual, values):
                found = "nothing" if actual is None else f"{actual.dtype} {actual.shape} {actual.ravel()[:8].tolist()}"
                raise ServingError(
                    f"{server} corrupts tensors: output {name!r} of the known-answer model, batch of {len(values)}: "
                    f"expected {values.dtype} {values.shape} {values.ravel()[:8].tolist()}, got {found}"
                )


def triton_version(http_port: int) -> str:
    """The version that the server on this machine reports."""
    status, content = call(http_port, "GET", "/v2", None, REQUEST_SECONDS)
    if status != HTTPStatus.OK:
        raise ServingError(f"Triton does not report its version: {content.decode(errors='replace')}")
    return str(json.loads(content)["version"])


def call(http_port: int, method: str, path: str, body: object, timeout: float) -> tuple[int, bytes]:
    """One HTTP call to the server on this machine, whatever proxy is set: status and body.

    Raises ServingError where no response arrives within `timeout` seconds.
    """
    connection = http.client.HTTPConnection("127.0.0.1", http_port, timeout=timeout)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise ServingError(f"Triton does not respond on 127.0.0.1:{http_port}: {error!r}") from error
    finally:
        connection.close()


def _infer(http_port: int, inputs: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """One request over REST: plain JSON, so that the check needs no client library."""
    types = {"INT64": np.int64, "INT32": np.int32, "FP32": np.float32, "BOOL": np.bool_}
    names = {np.dtype(dtype): name for name, dtype in types.items()}
    tensors = [
        {"name": name, "datatype": names[values.dtype], "shape": values.shape, "data": values.ravel().tolist()}
        for name, values in inputs.items()
    ]
    path = f"/v2/models/{KNOWN_RESPONSE}/infer"
    status, content = call(http_port, "POST", path, {"inputs": tensors}, REQUEST_SECONDS)
    if status != HTTPStatus.OK:
        raise ServingError(f"Triton rejects the known-answer request: {content.decode(errors='replace')}")
    try:
        return {
            tensor["name"]: np.array(tensor["data"], dtype=types[tensor["datatype"]]).reshape(tensor["shape"])
            for tensor in json.loads(content)["outputs"]
        }
    except (KeyError, ValueError, OverflowError) as error:
        raise ServingError(f"Triton's response to the known-answer request is malformed: {content[:500]!r}") from error


def _model() -> bytes:
    """The model: tripled = ids * 3 + 1, affine = values * 2 + 0.5, short = int32(ids), positive = values > 0."""
    import onnx
    from onnx import TensorProto, helper

    def constant(name: str, type_: int, value: float) -> Any:
        return helper.make_tensor(name, type_, [1], [value])

    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["ids", "three"], ["product"]),
            helper.make_node("Add", ["product", "one"], ["tripled"]),
            helper.make_node("Mul", ["values", "two"], ["scaled"]),
            helper.make_node("Add", ["scaled", "half"], ["affine"]),
            helper.make_node("Cast", ["ids"], ["short"], to=TensorProto.INT32),
            helper.make_node("Greater", ["values", "zero"], ["positive"]),
        ],
        KNOWN_RESPONSE,
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"]),
            helper.make_tensor_value_info("values", TensorProto.FLOAT, ["batch", WIDTH]),
        ],
        [
            helper.make_tensor_value_info("tripled", TensorProto.INT64, ["batch", "length"]),
            helper.make_tensor_value_info("affine", TensorProto.FLOAT, ["batch", WIDTH]),
            helper.make_tensor_value_info("short", TensorProto.INT32, ["batch", "length"]),
            helper.make_tensor_value_info("positive", TensorProto.BOOL, ["batch", WIDTH]),
        ],
        [
            constant("three", TensorProto.INT64, 3),
            constant("one", TensorProto.INT64, 1),
            constant("two", TensorProto.FLOAT, 2.0),
            constant("half", TensorProto.FLOAT, 0.5),
            constant("zero", TensorProto.FLOAT, 0.0),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
