"""An exported graph has the sizes that Triton's configuration will state."""

import pytest
from onnx import TensorProto, helper

from polytask.contract.tensors import TensorSpec
from polytask.errors import ExportError
from polytask.export.onnx import check_sizes


def graph(shape_in, shape_out):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_in)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_out)
    return helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y]))


def spec(name, *shape):
    return TensorSpec(name=name, dtype="FP32", shape=shape)


@pytest.mark.parametrize(
    ("shape_in", "spec_in", "shape_out", "spec_out", "message"),
    [
        (["b", 5], (5,), ["b", 5], (5,), None),
        (["b", "t"], (-1,), ["b", 5], (5,), None),
        (["b", "t"], (7,), ["b", 5], (5,), None),
        (["b", 5], (-1,), ["b", 5], (5,), r"input x: shape \[-1, 5\] in the graph; expected \[-1, -1\]"),
        (["b", 5], (6,), ["b", 5], (5,), r"input x: .*expected \[-1, 6\]"),
        (["b", 5], (5,), ["b", 5], (-1,), r"output y: shape \[-1, 5\] in the graph; expected \[-1, -1\]"),
        (["b", 5], (5,), ["b", "n"], (5,), r"output y: shape \[-1, -1\] in the graph; expected \[-1, 5\]"),
        (["b", 5], (5,), ["b", 5, 1], (5,), r"output y: shape \[-1, 5, 1\]"),
        ([3, 5], (5,), ["b", 5], (5,), r"input x: shape \[3, 5\]"),
    ],
)
def test_sizes(shape_in, spec_in, shape_out, spec_out, message):
    model, specs = graph(shape_in, shape_out), ([spec("x", *spec_in)], [spec("y", *spec_out)])
    if message is None:
        check_sizes(model, *specs)
    else:
        with pytest.raises(ExportError, match=message):
            check_sizes(model, *specs)


def test_other_names_are_refused():
    with pytest.raises(ExportError, match=r"outputs \['y'\] in the graph; expected \['z'\]"):
        check_sizes(graph(["b", 5], ["b", 5]), [spec("x", 5)], [spec("z", 5)])
