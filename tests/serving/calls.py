"""Calls as anyone might send them, for property tests: tensors known and unknown, right, wrong, huge and empty."""

import math
import struct
from typing import Any

from hypothesis import strategies as st

from polytask.scenario import Scenario
from serving.transformer.api.parse import input_types
from serving.transformer.api.wire import InputTensor

DATATYPES = ["INT64", "BYTES", "INT32", "UINT8", "FP32", "FP64", "BOOL", "FP16", "", "int64"]
INTEGERS = st.one_of(
    st.integers(-3, 70),
    st.sampled_from([-(2**63), 2**63 - 1, 2**31, 253_402_214_399, 253_402_300_799, 253_402_300_800, 1_700_000_000]),
    st.integers(-(2**63), 2**63 - 1),
)
# JSON can name half of a surrogate pair, which is no character: a browser sends it of an emoji that was cut in two.
HALVES = st.sampled_from(["\ud800", "film \ud83d", "\udc00 film", "weather=\ud83d", "item=\ud800"])
TEXTS = st.one_of(
    st.text(max_size=30),  # any character of Unicode, surrogates left out
    HALVES,
    st.sampled_from(["", " ", "\x00", "item", "scene=1", "item=nan", "item=inf", "item=-1", "‮", "é" * 2500, "🎬" * 9]),
)
# Values that are no element of any tensor of the service; JSON can encode all of them.
STRANGE = st.one_of(
    st.floats(), st.booleans(), st.none(), st.integers(2**63, 2**80), st.just([]), st.just({"a": 1}), st.just("7")
)
SHAPES = st.one_of(
    st.sampled_from([[1, 1], [2, 1], [1], [0], [], [1, 0], [0, 1], [1, 3], [128, 1], [129, 1], [10**12, 1], [-1, 1]]),
    st.lists(st.integers(-2, 5), max_size=4),
    st.just([2**62, 2**62]),
)


@st.composite
def good_tensors(draw: st.DrawFn, scenario: Scenario, batch: int) -> InputTensor:
    """A tensor that may well be right for a batch of that size."""
    name = draw(st.sampled_from(sorted(set(input_types(scenario)) - {"user_id"})))
    datatype, shape = input_types(scenario)[name]
    width = draw(st.integers(0, 3)) if len(shape) > 1 and shape[1] == -1 else 1
    shape = [batch, width] if len(shape) > 1 else [draw(st.integers(0, 3))]
    texts = st.sampled_from([task.name for task in scenario.tasks]) if name == "tasks" else TEXTS
    element = INTEGERS if datatype == "INT64" else texts
    return InputTensor(
        name, datatype, shape, draw(st.lists(element, min_size=math.prod(shape), max_size=math.prod(shape)))
    )


@st.composite
def any_tensors(draw: st.DrawFn, scenario: Scenario) -> InputTensor:
    """Any tensor at all; its data may be anything, and its length may differ from the shape."""
    name = draw(st.one_of(st.sampled_from(sorted(input_types(scenario))), st.text(max_size=10), HALVES))
    shape = draw(SHAPES)
    size = math.prod(shape) if all(part >= 0 for part in shape) else 1
    length = size if size <= 200 and draw(st.booleans()) else draw(st.integers(0, 6))
    element = draw(st.sampled_from([INTEGERS, TEXTS, STRANGE, st.one_of(INTEGERS, TEXTS, STRANGE)]))
    data = draw(st.lists(element, min_size=length, max_size=length))
    return InputTensor(name, draw(st.sampled_from(DATATYPES)), shape, data)


@st.composite
def raw_tensors(draw: st.DrawFn, scenario: Scenario) -> InputTensor:
    """A tensor with raw bytes: packed as they should be, cut short, or noise."""
    tensor = draw(st.one_of(any_tensors(scenario), good_tensors(scenario, 1)))
    packed = pack(tensor)
    raw = packed if packed is not None and draw(st.booleans()) else draw(st.binary(max_size=64))
    return InputTensor(tensor.name, tensor.datatype, tensor.shape, None, raw[: draw(st.integers(0, len(raw)))])


@st.composite
def calls(draw: st.DrawFn, scenario: Scenario, raw: bool = False) -> list[InputTensor]:
    """The tensors of one call, mostly with a user, from a right one to nonsense."""
    batch = draw(st.sampled_from([1, 1, 1, 2, 3]))
    keys = INTEGERS if scenario.entities.users.key_type == "integer" else TEXTS
    user = InputTensor(
        "user_id", input_types(scenario)["user_id"][0], [batch, 1], draw(st.lists(keys, min_size=batch, max_size=batch))
    )
    kinds = [good_tensors(scenario, batch), any_tensors(scenario)]
    others = draw(st.lists(st.one_of(kinds + ([raw_tensors(scenario)] if raw else [])), max_size=4))
    tensors = [user, *others] if draw(st.integers(0, 9)) else others
    return draw(st.permutations(tensors))


def pack(tensor: InputTensor) -> bytes | None:
    """Raw contents for the data of a tensor; None where there are none."""
    try:
        if tensor.datatype == "BYTES":
            parts = [str(element).encode() for element in tensor.data or ()]
            return b"".join(struct.pack("<I", len(part)) + part for part in parts)
        return b"".join(struct.pack("<q", element) for element in tensor.data or ())
    except (struct.error, UnicodeEncodeError):
        return None


def as_json(tensor: InputTensor) -> dict[str, Any]:
    """A tensor as REST has it."""
    return {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "data": list(tensor.data or ()),
    }
