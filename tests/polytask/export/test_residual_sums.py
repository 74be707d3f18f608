"""Sums before layer norms: the same numbers, without the kernel that is slow on a CPU."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from polytask.export.residual_sums import with_residual_sums

SIZE = 8


def graph():
    """norm(x + (xW + b)) twice; the inner sum of the second is an output too, and must stay."""
    random = np.random.default_rng(0)
    constants = [numpy_helper.from_array(random.normal(size=(SIZE, SIZE)).astype(np.float32), "W")]
    constants += [numpy_helper.from_array(random.normal(size=SIZE).astype(np.float32), name) for name in ("b", "g")]
    nodes = []
    source = "x"
    for number in (1, 2):
        n = str(number)
        nodes += [
            helper.make_node("MatMul", [source, "W"], [f"product{n}"]),
            helper.make_node("Add", [f"product{n}", "b"], [f"linear{n}"]),
            helper.make_node("Add", [f"linear{n}", source], [f"residual{n}"]),
            helper.make_node("LayerNormalization", [f"residual{n}", "g", "b"], [f"norm{n}"], axis=-1),
        ]
        source = f"norm{n}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "t", SIZE]) for name in ("x", "norm2", "linear2")
    ]
    made = helper.make_graph(nodes, "residual", ends[:1], ends[1:], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def outputs_and_kernels(model, folder):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).normal(size=(3, 4, SIZE)).astype(np.float32)
    return session.run(None, {"x": x}), [n.op_type for n in onnx.load(folder / "optimised.onnx").graph.node]


def test_same_numbers_without_the_slow_kernel(tmp_path):
    model = graph()
    before, kernels = outputs_and_kernels(model, tmp_path)
    assert "SkipLayerNormalization" in kernels  # what there is to avoid
    summed = with_residual_sums(model)
    onnx.checker.check_model(summed)
    assert [len(node.input) for node in summed.graph.node if node.op_type == "Sum"] == [3, 2]
    after, kernels = outputs_and_kernels(summed, tmp_path)
    assert "SkipLayerNormalization" not in kernels
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
