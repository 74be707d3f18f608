"""The requests of a client and its parsing of responses, without a server. Over the wire: tests/e2e."""

import numpy as np
import pytest

from polytask.client import Question, Ranked, ScoredLabel, Value
from polytask.client.messages import entries_of, inputs_of
from polytask.client.questions import one_question
from polytask.contract.tensors import MASKED_SCORE
from polytask.errors import RequestError


def test_only_what_was_asked_is_sent():
    sent = inputs_of([Question(5), Question(6)], tasks=None, k=None)
    assert [(tensor.name(), tensor.datatype(), tensor.shape()) for tensor in sent] == [("user_id", "INT64", [2, 1])]


def test_rows_of_different_lengths_are_padded_in_front():
    questions = [Question("a", "hi", 9, ["x"]), Question("b", recent_items=["y", "z"])]
    sent = inputs_of(questions, tasks=["item"], k=3, filters=["year=1990..1999", "genres=Horror"])
    shapes = {tensor.name(): (tensor.datatype(), tensor.shape()) for tensor in sent}
    assert shapes == {
        "user_id": ("BYTES", [2, 1]),
        "query": ("BYTES", [2, 1]),
        "timestamp": ("INT64", [2, 1]),
        "recent_items": ("BYTES", [2, 2]),
        "k": ("INT64", [1]),
        "tasks": ("BYTES", [1]),
        "filters": ("BYTES", [2]),
    }
    recent = next(tensor for tensor in sent if tensor.name() == "recent_items")._get_content()
    assert recent == b"\0\0\0\0" + b"".join(b"\1\0\0\0" + letter for letter in (b"x", b"y", b"z"))


def test_a_slate_and_its_weights_are_sent_for_the_whole_call():
    sent = inputs_of([Question(5), Question(6)], slate=7, task_weights={"item": 2, "scene": 0.5})
    named = {tensor.name(): tensor for tensor in sent}
    assert {name: (t.datatype(), t.shape()) for name, t in named.items()} == {
        "user_id": ("INT64", [2, 1]),
        "slate": ("INT64", [1]),
        "task_weights": ("BYTES", [2]),
    }
    assert named["task_weights"]._get_content() == b"\x08\0\0\0item=2.0\x09\0\0\0scene=0.5"


@pytest.mark.parametrize("user", [1.5, None, True, 2**63])
def test_a_key_of_another_type_is_refused(user: object):
    with pytest.raises(RequestError, match="user_id"):
        inputs_of([Question(user)])  # type: ignore[arg-type]


def test_the_words_of_a_question_and_of_a_call_are_told_apart():
    requested = {"query": "a western", "recent_items": [7], "k": 3, "filters": ["genres=Western"]}
    question, options = one_question(5, requested)  # type: ignore[arg-type]
    assert question == Question(5, "a western", recent_items=[7])
    assert options == {"k": 3, "filters": ["genres=Western"]}
    with pytest.raises(TypeError, match="kk"):
        one_question(5, {"kk": 3})  # type: ignore[typeddict-unknown-key]


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
    assert entries_of("item", tensors, 0) == (Ranked(7, "Heat", 2.0),)
    assert entries_of("scene", tensors, 0) == (ScoredLabel("Drama", 0.75), ScoredLabel("Horror", 0.5))
    assert entries_of("clicked", tensors, 0) == (ScoredLabel("clicked", 0.25),)
    assert entries_of("stars", tensors, 0) == (Value(3.5),)
