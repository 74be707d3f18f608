"""The client without a server: what it sends, how it reads, when it tries again. Over the wire: tests/e2e."""

import time

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from polytask.errors import RequestError, ServingError
from polytask.tensors import MASKED_SCORE
from serving.client import Label, Question, Ranked, RecommenderClient, ServiceUnavailable, Value, _entries, _inputs


def test_only_what_was_asked_is_sent():
    sent = _inputs([Question(5), Question(6)], tasks=None, k=None)
    assert [(tensor.name(), tensor.datatype(), tensor.shape()) for tensor in sent] == [("user_id", "INT64", [2, 1])]


def test_rows_of_different_lengths_are_padded_in_front():
    sent = _inputs([Question("a", "hi", 9, ["x"]), Question("b", recent_items=["y", "z"])], ["item"], 3)
    shapes = {tensor.name(): (tensor.datatype(), tensor.shape()) for tensor in sent}
    assert shapes == {
        "user_id": ("BYTES", [2, 1]),
        "query": ("BYTES", [2, 1]),
        "timestamp": ("INT64", [2, 1]),
        "recent_items": ("BYTES", [2, 2]),
        "k": ("INT64", [1]),
        "tasks": ("BYTES", [1]),
    }
    recent = next(tensor for tensor in sent if tensor.name() == "recent_items")._get_content()
    assert recent == b"\0\0\0\0" + b"".join(b"\1\0\0\0" + letter for letter in (b"x", b"y", b"z"))


def test_a_slate_and_its_weights_are_sent_for_the_whole_call():
    sent = {t.name(): t for t in _inputs([Question(5), Question(6)], slate=7, task_weights={"item": 2, "scene": 0.5})}
    assert {name: (t.datatype(), t.shape()) for name, t in sent.items()} == {
        "user_id": ("INT64", [2, 1]),
        "slate": ("INT64", [1]),
        "task_weights": ("BYTES", [2]),
    }
    assert sent["task_weights"]._get_content() == b"\x08\0\0\0item=2.0\x09\0\0\0scene=0.5"


@pytest.mark.parametrize("user", [1.5, None, True, 2**63])
def test_a_key_of_another_type_is_refused(user: object):
    with pytest.raises(RequestError, match="user_id"):
        _inputs([Question(user)], None, None)  # type: ignore[arg-type]


def test_each_kind_of_task_is_read():
    tensors = {
        "item_ids": np.array([[7, -1]]),
        "item_titles": np.array([[b"Heat", b""]], dtype=object),
        "item_scores": np.array([[2.0, MASKED_SCORE]], np.float32),
        "scene_labels": np.array([[b"Drama", b"Horror"]], dtype=object),
        "scene_scores": np.array([[0.75, 0.5]], np.float32),
        "clicked_scores": np.array([[0.25]], np.float32),
        "stars_values": np.array([[3.5]], np.float32),
    }
    assert _entries("item", tensors, 0) == (Ranked(7, "Heat", 2.0),)
    assert _entries("scene", tensors, 0) == (Label("Drama", 0.75), Label("Horror", 0.5))
    assert _entries("clicked", tensors, 0) == (Label("clicked", 0.25),)
    assert _entries("stars", tensors, 0) == (Value(3.5),)


@pytest.mark.parametrize(
    ("status", "calls", "raised"),
    [
        ("StatusCode.UNAVAILABLE", 3, ServiceUnavailable),
        ("StatusCode.DEADLINE_EXCEEDED", 1, ServiceUnavailable),
        ("StatusCode.INVALID_ARGUMENT", 1, RequestError),
        ("StatusCode.INTERNAL", 1, ServingError),
    ],
)
def test_only_unavailable_is_tried_again(status: str, calls: int, raised: type[Exception]):
    left: list[float] = []

    def send(seconds: float) -> None:
        left.append(seconds)
        raise InferenceServerException("k: 0, allowed: 1 to 10", status=status)

    with RecommenderClient("127.0.0.1:1", attempts=3) as client, pytest.raises(raised):
        client._call(send)
    assert len(left) == calls
    assert left == sorted(left, reverse=True)


def test_a_server_that_is_not_there_is_unavailable_within_the_deadline():
    start = time.monotonic()
    with RecommenderClient("127.0.0.1:9", deadline_seconds=1.0) as client, pytest.raises(ServiceUnavailable):
        client.recommend(5)
    assert time.monotonic() - start < 2.0


def test_context_is_sent_as_texts_of_each_row():
    sent = {t.name(): t for t in _inputs([Question(5, context={"weather": "rain", "place": "park"}), Question(6)])}
    assert (sent["context"].datatype(), sent["context"].shape()) == ("BYTES", [2, 2])
    assert sent["context"]._get_content() == b"\x0c\0\0\0weather=rain\x0a\0\0\0place=park" + b"\0\0\0\0" * 2
