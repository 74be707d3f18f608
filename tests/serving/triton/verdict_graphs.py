"""The graphs of `verdicts.yaml`, each with a `config.pbtxt` that the C++ backend loads."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from polytask.contract.contract import MULTITASK
from polytask.scenario import Scenario
from serving.triton.repository import write_repository
from tests.serving.triton.tiny import VERSION, tiny_contract, write_models

FLOAT = TensorProto.FLOAT
HEAD = 'backend: "onnxruntime"\nmax_batch_size: 4\ninstance_group { count: 1 kind: KIND_CPU }\n'
PLAIN = f"""{HEAD}input {{ name: "x" data_type: TYPE_FP32 dims: [ 5 ] }}
input {{ name: "ids" data_type: TYPE_INT64 dims: [ -1 ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ 5 ] }}
output {{ name: "z" data_type: TYPE_FP32 dims: [ -1 ] }}
"""
FROM_X_TO_Y = f"""{HEAD}input {{ name: "x" data_type: TYPE_FP32 dims: [ 5 ] }}
output {{ name: "y" data_type: TYPE_FP32 dims: [ 5 ] }}
"""


def verdict_graphs(scenario: Scenario, scratch: Path) -> dict[str, tuple[bytes, str]]:
    """Name -> the ONNX file and its configuration."""
    contract = tiny_contract(scenario)
    write_models(contract, scratch)
    write_repository(contract, scratch)
    multitask = (scratch / MULTITASK / str(VERSION) / "model.onnx").read_bytes()
    config = (scratch / MULTITASK / "config.pbtxt").read_text(encoding="utf-8")
    return {
        # The version folder of every model of the test is 1.
        "multitask": (multitask, config.replace(f'name: "{MULTITASK}"\n', "", 1).replace(str(VERSION), "1")),
        "plain": (_plain("batch"), PLAIN),
        "fixed_batch": (_plain(2), PLAIN),
        "initializer": (_initializer(), FROM_X_TO_Y),
        "scalar": (
            _identity(FLOAT, ["n", 5], "ReduceSum", [], keepdims=0),
            FROM_X_TO_Y.replace("max_batch_size: 4", "max_batch_size: 0")
            .replace('"x" data_type: TYPE_FP32 dims: [ 5 ]', '"x" data_type: TYPE_FP32 dims: [ -1, 5 ]')
            .replace('"y" data_type: TYPE_FP32 dims: [ 5 ]', '"y" data_type: TYPE_FP32 dims: [ 1 ]'),
        ),
        "string": (_identity(TensorProto.STRING, ["n", 5]), FROM_X_TO_Y.replace("FP32", "STRING")),
        "garbage": (b"no graph", PLAIN),
    }


def _plain(batch: str | int) -> bytes:
    """y = x (B, 5), z = float(ids) (B, L)."""
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Cast", ["ids"], ["z"], to=FLOAT)]
    inputs = [_info("x", FLOAT, [batch, 5]), _info("ids", TensorProto.INT64, [batch, "length"])]
    outputs = [_info("y", FLOAT, [batch, 5]), _info("z", FLOAT, [batch, "length"])]
    return _file(nodes, inputs, outputs)


def _initializer() -> bytes:
    """y = x * k (B, 5); k has a default."""
    inputs = [_info("x", FLOAT, ["n", 5]), _info("k", FLOAT, [1])]
    default = helper.make_tensor("k", FLOAT, [1], [2.0])
    return _file([helper.make_node("Mul", ["x", "k"], ["y"])], inputs, [_info("y", FLOAT, ["n", 5])], [default])


def _identity(kind: int, shape: list, operator: str = "Identity", result: list | None = None, **attributes) -> bytes:
    node = helper.make_node(operator, ["x"], ["y"], **attributes)
    return _file([node], [_info("x", kind, shape)], [_info("y", kind, shape if result is None else result)])


def _info(name: str, kind: int, shape: list) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def _file(nodes: list, inputs: list, outputs: list, constants: list | None = None) -> bytes:
    graph = helper.make_graph(nodes, "verdict", inputs, outputs, constants or [])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
