"""The mixed-load benchmark: which responses count as wrong, and which outcomes fail the run."""

import numpy as np
import pytest

from benchmarks.memory import Memory
from benchmarks.mixed_callers import Outcome
from benchmarks.mixed_calls import differences, malformed_messages


def answer(**changed):
    tensors = {
        "item_ids": np.array([[7, 8, 9]]),
        "item_scores": np.array([[3.0, 2.0, 2.0]], dtype=np.float32),
        "cold_start": np.array([[False]]),
    }
    return {**tensors, **changed}


def test_the_same_answer_is_right(small_scenario):
    assert differences(small_scenario, answer(), answer()) == []
    almost = np.array([[3.0, 2.0 + 1e-6, 2.0]], dtype=np.float32)
    assert differences(small_scenario, answer(item_scores=almost), answer()) == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"item_ids": np.array([[8, 7, 9]])}, "item_ids"),  # their scores differ
        ({"item_ids": np.array([[7, 8, 4]]), "item_scores": np.array([[3.0, 2.0, 1.5]], np.float32)}, "item_scores"),
        ({"item_scores": np.array([[3.1, 2.0, 2.0]], np.float32)}, "item_scores"),
        ({"item_scores": np.array([[np.nan, 2.0, 2.0]], np.float32)}, "item_scores"),
        ({"cold_start": np.array([[True]])}, "cold_start"),
        ({"item_ids": np.array([[7, 8]])}, "item_ids"),
        ({"more": np.zeros(1)}, "more"),
    ],
)
def test_what_differs_is_named(small_scenario, changed, named):
    found = differences(small_scenario, answer(**changed), answer())
    assert found
    assert named in found[0]


def test_entries_that_are_tied_may_change_places(small_scenario):
    assert differences(small_scenario, answer(item_ids=np.array([[7, 9, 8]])), answer()) == []
    right = answer(item_scores=np.array([[3.0, 2.0, 1.0]], np.float32))
    swapped = {**right, "item_ids": np.array([[7, 9, 8]])}
    assert differences(small_scenario, swapped, right)


def test_what_must_not_be_is_a_failure():
    counts = {"valid": {"OK": 5}}
    assert Outcome(counts, [], [], [], 0.1, {"triton": 0.05}).failures() == []
    assert "triton" in Outcome(counts, [], [], [], 0.1, {"triton": 0.051}).failures()[0]
    assert Outcome(counts, ["a"], ["b"], [], 0.1).failures() == ["wrong response: a", "unexpected: b"]
    assert Outcome({"valid": {"UNAVAILABLE": 9}}, [], [], [], 0.1).failures() == ["no valid call succeeded"]


def test_every_kind_of_field_has_a_malformed_call(small_scenario, text_only_scenario):
    assert set(malformed_messages(small_scenario)) == {
        "user_id", "query", "timestamp", "weather", "k", "recent_items"
    }  # fmt: skip
    assert "recent_items" not in malformed_messages(text_only_scenario)


def test_growth_compares_the_end_with_the_mark():
    memory = Memory({"one": lambda: None, "away": lambda: None})
    memory._samples["one"] += [900, 900, 900]
    memory.mark()
    memory._samples["one"] += [100, 100, 100, 100, 100, 105, 108, 110, 110, 110]
    assert memory.growth() == {"one": pytest.approx(0.1)}
