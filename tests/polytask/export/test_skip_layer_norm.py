"""SkipLayerNormalization in place of Add and LayerNormalization: the same numbers, where the shapes allow it."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from polytask.export.skip_layer_norm import with_skip_layer_norms

SIZE, LENGTH = 8, 4


def graph(extra_outputs=(), shaped=True):
    """norm(x + positions), then norm(y + (yW + b)) twice."""
    random = np.random.default_rng(0)
    arrays = {"W": (SIZE, SIZE), "b": (SIZE,), "g": (SIZE,), "positions": (LENGTH, SIZE)}
    constants = [numpy_helper.from_array(random.normal(size=s).astype(np.float32), n) for n, s in arrays.items()]
    nodes = [
        helper.make_node("Add", ["positions", "x"], ["residual0"]),
        helper.make_node("LayerNormalization", ["residual0", "g", "b"], ["norm0"], axis=-1, epsilon=1e-3),
    ]
    for n in (1, 2):
        nodes += [
            helper.make_node("MatMul", [f"norm{n - 1}", "W"], [f"product{n}"]),
            helper.make_node("Add", ["b", f"product{n}"], [f"linear{n}"]),
            helper.make_node("Add", [f"linear{n}", f"norm{n - 1}"], [f"residual{n}"]),
            helper.make_node("LayerNormalization", [f"residual{n}", "g", "b"], [f"norm{n}"], axis=2),
        ]

    def info(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", LENGTH, SIZE])

    ends = [info(name) for name in ("norm2", *extra_outputs)]
    made = helper.make_graph(nodes, "residual", [info("x")], ends, constants)
    if shaped:
        inner = {name for node in nodes for name in node.output} - {value.name for value in ends}
        made.value_info.extend(info(name) for name in sorted(inner))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def outputs(model):
    onnx.checker.check_model(model)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(3, LENGTH, SIZE)).astype(np.float32)
    return dict(zip([node.name for node in session.get_outputs()], session.run(None, {"x": x}), strict=True))


def operators(model):
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("read_elsewhere", [(), ("residual1", "linear2"), ("residual0", "residual1", "residual2")])
def test_the_same_numbers_without_the_slow_kernel(read_elsewhere):
    model = graph(read_elsewhere)
    joined = with_skip_layer_norms(model)
    assert operators(joined).count("SkipLayerNormalization") == 3
    assert "LayerNormalization" not in operators(joined)
    # A linear layer's own output stays where something else reads it.
    assert operators(joined).count("Add") == ("linear2" in read_elsewhere)
    before, after = outputs(model), outputs(joined)
    assert before.keys() == after.keys()
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, atol=1e-5)


def test_a_graph_of_unknown_shapes_is_left_alone():
    model = graph(shaped=False)
    assert with_skip_layer_norms(model).SerializeToString() == model.SerializeToString()
    shapes = {"x": ("n", LENGTH, SIZE), "residual0": ("n", LENGTH, SIZE), "positions": (LENGTH, SIZE)}
    assert operators(with_skip_layer_norms(model, shapes)).count("SkipLayerNormalization") == 1


def test_a_vector_that_is_added_to_rows_is_no_skip():
    shape = ["n", SIZE]
    constants = [numpy_helper.from_array(np.ones(SIZE, np.float32), name) for name in ("v", "g", "b")]
    nodes = [
        helper.make_node("Add", ["x", "v"], ["sum"]),
        helper.make_node("LayerNormalization", ["sum", "g", "b"], ["y"], axis=-1),
    ]
    x, y, total = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y", "sum"))
    made = helper.make_graph(nodes, "rows", [x], [y], constants, value_info=[total])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    assert operators(with_skip_layer_norms(model)) == ["Add", "LayerNormalization"]


def test_applying_it_twice_changes_nothing_more():
    once = with_skip_layer_norms(graph())
    assert with_skip_layer_norms(once).SerializeToString() == once.SerializeToString()
