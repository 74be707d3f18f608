"""The calls of a mixed load and checks of the responses: valid ones have a reference, malformed ones a field."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.calls import UserCall
from polytask.contract.names import COUNT, QUERY, RECENT_ITEMS, TIMESTAMP, USER_ID
from polytask.contract.tensors import MASKED_SCORE
from polytask.scenario import Scenario
from polytask.scenario.names import USERS
from serving.transformer.api.parse import MAX_QUERY_CHARACTERS
from serving.transformer.bundle import Bundle

# A text's vector may differ in the last bits with the batch it was encoded in; scores of different entries differ more.
TOLERANCE = 1e-3

QUERIES = ("", "", "a scary ghost story", "a light-hearted comedy", "something for a rainy evening", "new and loud")


@dataclass(frozen=True)
class Valid:
    """A call with its correct response, tensors by name."""

    message: bytes
    users: tuple[Any, ...]
    reference: Mapping[str, NDArray[Any]]


def valid_messages(bundle: Bundle, count: int, timestamp: int, seed: int) -> list[tuple[bytes, tuple[Any, ...]]]:
    """Calls of one to four users with and without a query, and the users of each; seeded."""
    chooser = random.Random(seed)  # noqa: S311 - which calls are sent is no secret
    ids = list(bundle.catalogues[USERS].ids)
    made = []
    for _ in range(count):
        users = tuple(chooser.sample(ids, chooser.choice((1, 1, 1, 2, 4))))
        queries = tuple(chooser.choice(QUERIES) for _ in users)
        made.append((UserCall(users, queries, timestamp).message("recommender"), users))
    return made


def malformed_messages(scenario: Scenario) -> dict[str, list[bytes]]:
    """Field -> calls that must be refused with INVALID_ARGUMENT and that field's name."""
    integer = scenario.entities.users.key_type == "integer"
    user = (USER_ID, "INT64" if integer else "BYTES", [1, 1], np.int64(1).tobytes() if integer else b"\1\0\0\0x")
    other = (USER_ID, "BYTES" if integer else "INT64", [1, 1], user[3])
    text = b"x" * (MAX_QUERY_CHARACTERS + 1)
    found = {
        USER_ID: [
            _message([]),
            _message([other]),
            _message([(USER_ID, user[1], [2, 1], user[3])]),
            _message([(USER_ID, user[1], [1, 1], user[3][:-1])]),
            _message([(USER_ID, user[1], [-1, 1], user[3])]),
        ],
        QUERY: [
            _message([user, (QUERY, "BYTES", [1, 1], len(text).to_bytes(4, "little") + text)]),
            _message([user, (QUERY, "BYTES", [1, 1], b"\2\0\0\0\xff\xfe")]),
            _message([user, (QUERY, "FP32", [1, 1], b"\0\0\0\0")]),
        ],
        TIMESTAMP: [_message([user, (TIMESTAMP, "INT64", [1, 1], np.int64(-1).tobytes())])],
        "weather": [_message([user, ("weather", "BYTES", [1, 1], b"\1\0\0\0x")])],
        COUNT: [_message([user, (COUNT, "INT64", [1], np.int64(0).tobytes())])],
    }
    if scenario.has_items:
        wide = scenario.features.history_length + 1
        key = scenario.entities.items is not None and scenario.entities.items.key_type == "integer"
        data = np.zeros(wide, dtype="<i8").tobytes() if key else b"\0\0\0\0" * wide
        found[RECENT_ITEMS] = [_message([user, (RECENT_ITEMS, "INT64" if key else "BYTES", [1, wide], data)])]
    return found


def _message(tensors: Sequence[tuple[str, str, list[int], bytes]]) -> bytes:
    from tritonclient.grpc import service_pb2

    request = service_pb2.ModelInferRequest(model_name="recommender")
    for name, datatype, shape, raw in tensors:
        request.inputs.add(name=name, datatype=datatype, shape=shape)
        request.raw_input_contents.append(raw)
    content: bytes = request.SerializeToString()
    return content


def tensors_of(response: bytes) -> dict[str, NDArray[Any]]:
    """The tensors of a ModelInferResponse."""
    import tritonclient.grpc as triton
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferResponse.FromString(response)
    result = triton.InferResult(message)
    return {output.name: result.as_numpy(output.name) for output in message.outputs}


def differences(scenario: Scenario, got: Mapping[str, NDArray[Any]], right: Mapping[str, NDArray[Any]]) -> list[str]:
    """The differences of a response from the correct one; empty if there are none.

    Scores may differ by `TOLERANCE`, and entries whose scores lie that close may have changed places.
    """
    if list(got) != list(right):
        return [f"tensors {', '.join(got)}, not {', '.join(right)}"]
    found = []
    for name, tensor in right.items():
        if got[name].shape != tensor.shape:
            found.append(f"{name}: shape {list(got[name].shape)}, not {list(tensor.shape)}")
        elif tensor.dtype.kind == "f":
            if not np.allclose(got[name], tensor, rtol=TOLERANCE, atol=TOLERANCE):
                found.append(f"{name}: differs by up to {np.abs(got[name] - tensor).max():.3g}")
        elif not (got[name] == tensor).all() and not _only_ties(scenario, name, got, right):
            found.append(f"{name}: another order")
    return found


def _only_ties(
    scenario: Scenario, name: str, got: Mapping[str, NDArray[Any]], right: Mapping[str, NDArray[Any]]
) -> bool:
    """Whether entries of a list changed places only where their scores are as good as equal."""
    task, _, what = name.rpartition("_")
    scores = right.get(f"{task}_scores")
    if what not in ("ids", "titles", "labels") or scores is None or task not in {one.name for one in scenario.tasks}:
        return False
    for row, column in np.argwhere(got[name] != right[name]):
        tied = np.abs(scores[row] - scores[row, column]) <= 2 * TOLERANCE * max(1.0, abs(float(scores[row, column])))
        last = column == scores.shape[1] - 1 or tied[-1]  # what it is tied with may stand beyond the list's end
        if scores[row, column] <= MASKED_SCORE / 2 or not (last or got[name][row, column] in right[name][row][tied]):
            return False
    return True
