"""Keys, names and counts have bounds, in every way that tensors come: typed lists, JSON, raw bytes."""

from typing import Any

import pytest

from polytask.errors import RequestError
from polytask.scenario import Scenario, load_scenario
from serving.transformer.api.parse import KEY_BYTES, CallParser
from serving.transformer.api.wire import InputTensor, decode
from serving.transformer.server.limits import Limits, full_request_bytes, full_request_values
from tests.serving.calls import pack

KEYS = ("user_id", "recent_items", "exclude_items", "disliked_items")


@pytest.fixture(scope="module")
def shop() -> Scenario:
    """A scenario whose keys are strings."""
    return load_scenario("ecommerce")


def texts(name: str, *values: str, raw: bool = False) -> InputTensor:
    tensor = InputTensor(name, "BYTES", [1, len(values)], list(values))
    return InputTensor(name, "BYTES", tensor.shape, None, pack(tensor)) if raw else tensor


def call(name: str, key: str, raw: bool) -> list[InputTensor]:
    return [texts("user_id", key, raw=raw)] if name == "user_id" else [texts("user_id", "u"), texts(name, "i", key)]


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("name", KEYS)
def test_a_key_has_at_most_so_many_bytes(shop: Scenario, name: str, raw: bool):
    parser = CallParser(shop)
    for fits in ("x" * KEY_BYTES, "é" * (KEY_BYTES // 2), "🎬" * (KEY_BYTES // 4)):
        parser.parse(call(name, fits, raw), (), 0)
        with pytest.raises(RequestError, match=rf"^{name}: a key of \d+ bytes .*, allowed: at most {KEY_BYTES}$"):
            parser.parse(call(name, fits + "x", raw), (), 0)


def test_the_bound_of_keys_is_a_setting(shop: Scenario):
    CallParser(shop, 3).parse([texts("user_id", "abc")], (), 0)
    with pytest.raises(RequestError, match="a key of 4 bytes"):
        CallParser(shop, 3).parse([texts("user_id", "abcd")], (), 0)


@pytest.mark.parametrize("name", ["tasks", "task_weights"])
def test_there_are_no_more_names_than_tasks(shop: Scenario, name: str):
    many = InputTensor(name, "BYTES", [1_100_000], ["x"])
    with pytest.raises(
        RequestError, match=rf"^{name}: shape \[1100000\], allowed: \[n\] with n up to {len(shop.tasks)}"
    ):
        CallParser(shop).parse([texts("user_id", "u"), InputTensor("slate", "INT64", [1], [3]), many], (), 0)


def test_a_task_is_named_once(shop: Scenario):
    name = shop.tasks[0].name
    twice = InputTensor("tasks", "BYTES", [2], [name, name])
    with pytest.raises(RequestError, match=f"tasks: '{name}' is given more than once, allowed: once"):
        CallParser(shop).parse([texts("user_id", "u"), twice], (), 0)


class Unreadable(list[Any]):
    """A list of which only the first elements may be read."""

    def __init__(self, length: int, readable: int):
        super().__init__()
        self._length, self._readable = length, readable

    def __len__(self) -> int:
        return self._length

    def __iter__(self):
        yield from range(self._readable)
        raise AssertionError("read on")


@pytest.mark.parametrize("shape", [[2, 1], [0], []])
def test_no_more_elements_are_read_than_the_shape_says(shape: list[int]):
    with pytest.raises(RequestError, match=r"k: 1000000 elements, shape .* requires "):
        decode(InputTensor("k", "INT64", shape, Unreadable(10**6, 3)), "INT64")


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (InputTensor("k", "INT64", [2**62, 2**62], [1]), "1 elements, shape"),
        (InputTensor("k", "INT64", [2**62, 2**62], raw=b"\0" * 8), "1 elements, shape"),
        (InputTensor("k", "INT64", [1] * 9, [1]), "shape of 9 dimensions, allowed: at most 8"),
        (InputTensor("k", "BYTES", [1], raw=b"\0" * 4 * 10**6), "more than 1 elements"),
        (InputTensor("k", "INT64", [1, 1], [[[1]]]), "of type list"),
    ],
)
def test_a_shape_is_compared_before_elements_are_made(tensor: InputTensor, message: str):
    with pytest.raises(RequestError, match=message):
        decode(tensor, tensor.datatype)


def test_lists_nested_without_end_are_refused():
    nested: list[Any] = [1]
    for _ in range(900):
        nested = [nested]
    with pytest.raises(RequestError, match="of type list"):
        decode(InputTensor("k", "INT64", [1, 1], nested), "INT64")


@pytest.mark.parametrize("name", ["movielens", "ecommerce", "reviews"])
def test_a_full_request_is_larger_than_the_default_and_its_values_are_allowed(name: str):
    scenario = load_scenario(name)
    assert full_request_bytes(scenario, 8) < full_request_bytes(scenario, 128)
    assert full_request_bytes(scenario, 128) > Limits().body_bytes == 2**20
    assert full_request_values(scenario, 128) > 128 * (scenario.features.exclude_length if scenario.has_items else 1)


def test_the_defaults_leave_room_for_several_bodies():
    limits = Limits()
    assert limits.bodies_bytes >= 4 * limits.body_bytes
