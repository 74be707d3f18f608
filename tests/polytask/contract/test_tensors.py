"""Tensor names, types and shapes come from the scenario's task list."""

import pytest

from polytask.contract.tensors import (
    multitask_inputs,
    multitask_outputs,
    response_outputs,
    task_outputs,
    text_inputs,
    text_outputs,
)
from polytask.scenario.schema import Label, Task


def flat(specs):
    return [(spec.name, spec.dtype, spec.shape) for spec in specs]


def test_inputs(small_scenario):
    assert flat(text_inputs()) == [("input_ids", "INT64", (-1,)), ("attention_mask", "INT64", (-1,))]
    assert flat(text_outputs(384)) == [("text_vector", "FP32", (384,))]
    assert flat(multitask_inputs(small_scenario, 384)) == [
        ("text_vector", "FP32", (384,)),
        ("history", "INT64", (10,)),
        ("seen", "INT64", (48,)),
        ("user", "INT64", (1,)),
        ("disliked", "INT64", (16,)),
        ("allowed", "BOOL", (-1,)),
    ]


def test_outputs_in_the_order_of_the_tasks(small_scenario):
    assert flat(multitask_outputs(small_scenario, 384)) == [
        ("item_ids", "INT64", (10,)),
        ("item_scores", "FP32", (10,)),
        ("user_ids", "INT64", (10,)),
        ("user_scores", "FP32", (10,)),
        ("scene_scores", "FP32", (4,)),
        ("encoded_text", "FP32", (384,)),
    ]
    assert flat(response_outputs(small_scenario)) == flat(multitask_outputs(small_scenario, 384))[:-1]


@pytest.mark.parametrize(
    ("kind", "classes", "expected"),
    [
        ("multiclass", ("a", "b", "c"), ("t_scores", "FP32", (3,))),
        ("binary", None, ("t_scores", "FP32", (1,))),
        ("regression", None, ("t_values", "FP32", (1,))),
    ],
)
def test_outputs_of_other_kinds(kind, classes, expected):
    task = Task(name="t", title="T", kind=kind, classes=classes, label=Label(source="interaction", column="x"))
    assert flat(task_outputs(task)) == [expected]
