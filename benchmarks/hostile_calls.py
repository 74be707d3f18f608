"""Calls that no honest client sends: the servers must reject them, or respond, without harm to other clients' calls."""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from polytask.contract.contract import RECOMMENDER, TEXT_ENCODER
from polytask.contract.names import CONTEXT, FILTERS, QUERY, TASKS, TIMESTAMP, USER_ID
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS, multitask_inputs
from polytask.scenario import Scenario

INFER = f"/v2/models/{RECOMMENDER}/infer"
SERVICE = "/inference.GRPCInferenceService/"
TRANSFORMER, TRITON = "transformer", "triton"
MILLION = 10**6
HUGE = "x" * (4 * MILLION)  # with the rest of a call just below the 8 MiB that a body may have
SURROGATE = "\\ud800"  # as JSON writes it
SURROGATE_BYTES = b"\xed\xa0\x80"
PLACE = "@@@"  # is replaced by the three bytes above, which no protobuf library would write
BOMB_BYTES = 256 * 2**20
# The ends of what 64 bits, datetime and the year 9999 hold; a zone east of Greenwich moves the last ones over the end.
MOMENTS = (2**63 - 1, -(2**63), 253_402_300_799, 253_402_300_800, 253_402_214_400, 8_640_000_000_000, -62_135_596_800)


@dataclass(frozen=True)
class RestCall:
    """A request to the transformer's REST port."""

    name: str
    body: bytes
    path: str = INFER
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GrpcCall:
    """A request to the gRPC port of the transformer or of Triton.

    gRPC itself refuses a message that is not `protobuf`, by UNKNOWN, before the server sees it.
    """

    name: str
    message: bytes
    method: str = "ModelInfer"
    server: str = TRANSFORMER
    protobuf: bool = True


def rest_calls(scenario: Scenario) -> list[RestCall]:
    """All hostile REST calls to a recommender of the scenario."""
    user = _user(scenario)
    made = [RestCall(f"surrogate in {place}", body) for place, body in _surrogates(scenario)]
    made += [RestCall(f"timestamp {moment}", _json(user, _tensor(TIMESTAMP, "INT64", [moment]))) for moment in MOMENTS]
    made += [
        RestCall("user id of 4 MB", _json(_tensor(USER_ID, "BYTES", [HUGE]))),
        RestCall("query of 4 MB", _json(user, _tensor(QUERY, "BYTES", [HUGE]))),
        RestCall("request id of 4 MB", _json(user, id=HUGE)),
        RestCall("tensor name of 4 MB", _json(user, _tensor(HUGE, "INT64", [1]))),
        RestCall("a million tasks", _json(user, {**_tensor(TASKS, "BYTES", ["x"] * MILLION), "shape": [MILLION]})),
        RestCall("a hundred thousand tensors", _json(*[user] * 100_000)),
        RestCall("a hundred thousand outputs", _json(user, outputs=[{"name": "item_ids"}] * 100_000)),
        RestCall("shape beyond 64 bits", _json({**user, "shape": [2**62, 2**62]})),
        RestCall("negative shape", _json({**user, "shape": [-1, -1]})),
        RestCall(
            "number of 5,000 digits",
            b'{"inputs": [{"name": "user_id", "shape": [1, 1], "data": [%s]}]}' % (b"9" * 5000),
        ),
        RestCall("number without end", _json(user).replace(b"[1, 1]", b"[1e999, NaN]")),
        RestCall("deep list", b"[" * 200_000),
        RestCall("deep parameters", b'{"inputs": [], "parameters": ' + b'{"a": ' * 50_000),
        RestCall("not UTF-8", b'{"id": "\xff\xfe"}'),
        RestCall("9 MiB", b" " * (9 * 2**20)),
        RestCall("gzip bomb", _bomb(), headers={"content-encoding": "gzip"}),
        RestCall("gzip that is none", b"nothing", headers={"content-encoding": "gzip"}),
        RestCall("binary without end", _json(user), headers={"inference-header-content-length": str(2**63)}),
        RestCall("binary length of letters", _json(user), headers={"inference-header-content-length": "many"}),
        RestCall("path that is not UTF-8", b"{}", "/v2/models/%ff%fe/infer"),
        RestCall("another version", _json(user), f"/v2/models/{RECOMMENDER}/versions/{'9' * 500}/infer"),
        RestCall("load of another model", b"{}", "/v2/repository/models/other/load"),
        RestCall("unload", b"{}", f"/v2/repository/models/{RECOMMENDER}/unload"),
        RestCall("explanation", b'{"instances": [{}]}', f"/v1/models/{RECOMMENDER}:explain"),
        RestCall("prediction", b'{"instances": [1]}', f"/v1/models/{RECOMMENDER}:predict"),
        RestCall("unknown method", b"", INFER, "TRACE"),
    ]
    return made


def grpc_calls(scenario: Scenario) -> list[GrpcCall]:
    """All hostile gRPC calls: those to the transformer, then those that go round it, to Triton."""
    user = _user_tensor(scenario)
    text = (USER_ID, "BYTES", [1, 1])
    made = [
        GrpcCall("surrogate in user id", _message([(*text, _bytes(SURROGATE_BYTES))])),
        GrpcCall("surrogate in query", _message([user, (QUERY, "BYTES", [1, 1], _bytes(SURROGATE_BYTES))])),
        GrpcCall("surrogate in context", _message([user, (CONTEXT, "BYTES", [1, 1], _bytes(b"a=" + SURROGATE_BYTES))])),
        GrpcCall(
            "surrogate in tensor name", _broken(_message([user, (PLACE, "INT64", [1, 1], b"\0" * 8)])), protobuf=False
        ),
        GrpcCall("surrogate in request id", _broken(_message([user], id=PLACE)), protobuf=False),
        GrpcCall("surrogate in model name", _broken(_message([user], model=PLACE)), protobuf=False),
        GrpcCall("user id of 4 MB", _message([(*text, _bytes(HUGE.encode()))])),
        GrpcCall("request id of 4 MB", _message([user], id=HUGE)),
        GrpcCall("a million tasks", _message([user, (TASKS, "BYTES", [MILLION], _bytes(b"x") * MILLION)])),
        GrpcCall("a million rows", _message([(user[0], user[1], [MILLION, 1], user[3] * MILLION)])),
        GrpcCall("shape beyond 64 bits", _message([(user[0], user[1], [2**62, 2**62], user[3])])),
        GrpcCall("length beyond the tensor", _message([(*text, (2**31).to_bytes(4, "little"))])),
        GrpcCall("no protobuf", b"\xff" * 1000, protobuf=False),
        GrpcCall("9 MiB", b"\xff" * (9 * 2**20), protobuf=False),
        GrpcCall("load of another model", b"", "RepositoryModelLoad"),
        GrpcCall("unload of another model", b"", "RepositoryModelUnload"),
        GrpcCall("unknown method", b"", "Nothing"),
    ]
    for moment in MOMENTS:
        raw = np.int64(moment).tobytes()
        made.append(GrpcCall(f"timestamp {moment}", _message([user, (TIMESTAMP, "INT64", [1, 1], raw)])))
    return made + list(_to_triton(scenario))


def _to_triton(scenario: Scenario) -> Iterator[GrpcCall]:
    """Tokens and rows that no tokenizer and no catalogue have. The bucket of 16 tokens is one that good calls use."""
    length = 16
    mask = (ATTENTION_MASK, "INT64", [1, length], np.ones(length, np.int64).tobytes())
    for token in (2**62, -1, -(2**63), 10**9):
        tokens = (INPUT_IDS, "INT64", [1, length], np.full(length, token, np.int64).tobytes())
        yield GrpcCall(f"tokens {token}", _message([tokens, mask], TEXT_ENCODER), server=TRITON)
        rows = [
            (spec.name, spec.dtype, [1, *(max(1, size) for size in spec.shape)], b"")
            for spec in multitask_inputs(scenario, 1)[1:]
        ]
        wild = [(name, kind, shape, _wild(kind, shape)) for name, kind, shape, _ in rows]
        yield GrpcCall(f"tokens {token} and rows without end", _message([tokens, mask, *wild]), server=TRITON)
    none = (INPUT_IDS, "INT64", [1, 0], b"")
    yield GrpcCall("no tokens", _message([none, (ATTENTION_MASK, "INT64", [1, 0], b"")], TEXT_ENCODER), server=TRITON)


def _wild(kind: str, shape: list[int]) -> bytes:
    values = {"INT64": np.int64(2**62), "FP32": np.float32("nan"), "BOOL": np.bool_(True)}[kind]
    return np.full(shape, values).tobytes()


def _surrogates(scenario: Scenario) -> Iterator[tuple[str, bytes]]:
    user = _user(scenario)
    for name, body in {
        "user id": _json(_tensor(USER_ID, "BYTES", [PLACE])),
        QUERY: _json(user, _tensor(QUERY, "BYTES", [PLACE])),
        CONTEXT: _json(user, _tensor(CONTEXT, "BYTES", [f"a={PLACE}"])),
        FILTERS: _json(user, {**_tensor(FILTERS, "BYTES", [PLACE]), "shape": [1]}),
        TASKS: _json(user, {**_tensor(TASKS, "BYTES", [PLACE]), "shape": [1]}),
        "tensor name": _json(user, _tensor(PLACE, "INT64", [1])),
        "datatype": _json(user, _tensor(QUERY, PLACE, ["a"])),
        "request id": _json(user, id=PLACE),
        "output name": _json(user, outputs=[{"name": PLACE}]),
    }.items():
        yield name, body.replace(PLACE.encode(), SURROGATE.encode())


def _user(scenario: Scenario) -> dict[str, Any]:
    integer = scenario.entities.users.key_type == "integer"
    return _tensor(USER_ID, "INT64" if integer else "BYTES", [1 if integer else "somebody"])


def _user_tensor(scenario: Scenario) -> tuple[str, str, list[int], bytes]:
    integer = scenario.entities.users.key_type == "integer"
    return USER_ID, "INT64" if integer else "BYTES", [1, 1], np.int64(1).tobytes() if integer else _bytes(b"somebody")


def _tensor(name: str, datatype: str, data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [1, len(data)], "data": data}


def _json(*inputs: Mapping[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": list(inputs), **more}).encode()


def _message(tensors: list[tuple[str, str, list[int], bytes]], model: str = RECOMMENDER, id: str = "") -> bytes:
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name=model, id=id)
    for name, datatype, shape, raw in tensors:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(raw)
    content: bytes = request.SerializeToString()
    return content


def _broken(message: bytes) -> bytes:
    return message.replace(PLACE.encode(), SURROGATE_BYTES)


def _bytes(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text


def _bomb() -> bytes:
    return gzip.compress(b" " * BOMB_BYTES, compresslevel=6)
