"""A contract over the small scenario and two tiny ONNX models with its tensors, whose outputs numpy can repeat."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from polytask.contract.contract import MULTITASK, TEXT_ENCODER, Contract, FileSum
from polytask.contract.tensors import TensorSpec, multitask_inputs, multitask_outputs, text_inputs, text_outputs
from polytask.scenario import Scenario

VERSION = 1_234_567_890
TEXT_DIM = 6
ONNX_TYPES = {"INT64": TensorProto.INT64, "FP32": TensorProto.FLOAT, "BOOL": TensorProto.BOOL}
Arrays = dict[str, NDArray[Any]]


def tiny_contract(scenario: Scenario) -> Contract:
    file = FileSum(path="none", sha256="0" * 64)
    return Contract(
        model_version=VERSION,
        scenario=scenario,
        text_dim=TEXT_DIM,
        max_tokens=scenario.text.max_tokens,
        text_inputs=tuple(text_inputs()),
        text_outputs=tuple(text_outputs(TEXT_DIM)),
        multitask_inputs=tuple(multitask_inputs(scenario, TEXT_DIM)),
        outputs=tuple(multitask_outputs(scenario, TEXT_DIM)),
        feature_service=scenario.feature_service,
        encoder_sha256="0" * 64,
        tokenizer=file,
        catalogues={},
        models={},
        metrics={},
    )


def write_models(contract: Contract, repository: Path) -> None:
    """The ONNX files as the exporter leaves them."""
    for name, model in ((TEXT_ENCODER, _text_encoder(contract)), (MULTITASK, _multitask(contract))):
        path = repository / name / str(contract.model_version) / "model.onnx"
        path.parent.mkdir(parents=True)
        onnx.save(model, path)


def tiny_inputs(contract: Contract, batch: int, tokens: int, seed: int) -> Arrays:
    """Random inputs of the ensemble."""
    random = np.random.default_rng(seed)
    lengths = contract.scenario.features
    return {
        "input_ids": random.integers(0, 1000, (batch, tokens), dtype=np.int64),
        "attention_mask": random.integers(0, 2, (batch, tokens), dtype=np.int64),
        "history": random.integers(0, 60, (batch, lengths.history_length), dtype=np.int64),
        "seen": random.integers(0, 60, (batch, lengths.exclude_length), dtype=np.int64),
        "disliked": random.integers(0, 60, (batch, lengths.disliked_length), dtype=np.int64),
        "user": random.integers(0, 30, (batch, 1), dtype=np.int64),
        "allowed": random.random((batch, 1)) < 0.5,
    }


def tiny_responses(contract: Contract, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """The outputs of the two models, one after the other: small whole numbers, so that float32 is exact."""
    text = (inputs["input_ids"] * inputs["attention_mask"]).sum(1, keepdims=True).astype(np.float32)
    summed = ("history", "seen", "disliked", "allowed")
    rows = inputs["user"] + sum(inputs[name].sum(1, keepdims=True, dtype=np.int64) for name in summed)
    factors = {"INT64": rows, "FP32": text}
    return {spec.name: factors[spec.dtype] * _steps(spec) for spec in contract.outputs}


def _steps(spec: TensorSpec) -> NDArray[Any]:
    return np.arange(1, spec.shape[0] + 1, dtype=np.int64 if spec.dtype == "INT64" else np.float32)[None]


def _text_encoder(contract: Contract) -> onnx.ModelProto:
    row = helper.make_tensor("row", TensorProto.FLOAT, [1, TEXT_DIM], np.arange(1, TEXT_DIM + 1))
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "axis"], ["sum"], keepdims=1),
        helper.make_node("Cast", ["sum"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "row"], ["text_vector"]),
    ]
    return _model(nodes, contract.text_inputs, contract.text_outputs, [row, axis])


def _multitask(contract: Contract) -> onnx.ModelProto:
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.INT64, [1], [0]),
        helper.make_tensor("one", TensorProto.INT64, [1], [1]),
    ]
    nodes = [
        helper.make_node("ReduceSum", ["history", "axis"], ["history_sum"], keepdims=1),
        helper.make_node("ReduceSum", ["seen", "axis"], ["seen_sum"], keepdims=1),
        helper.make_node("ReduceSum", ["disliked", "axis"], ["disliked_sum"], keepdims=1),
        helper.make_node("Add", ["history_sum", "seen_sum"], ["known"]),
        helper.make_node("Add", ["known", "disliked_sum"], ["unwanted"]),
        helper.make_node("Cast", ["allowed"], ["allowed_integers"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["allowed_integers", "axis"], ["allowed_sum"], keepdims=1),
        helper.make_node("Add", ["unwanted", "allowed_sum"], ["items"]),
        helper.make_node("Add", ["items", "user"], ["rows"]),
        helper.make_node("Slice", ["text_vector", "zero", "one", "axis"], ["text"]),
    ]
    for spec in contract.outputs:
        steps = _steps(spec)
        constants.append(helper.make_tensor(f"{spec.name}_steps", ONNX_TYPES[spec.dtype], steps.shape, steps.ravel()))
        factor = "rows" if spec.dtype == "INT64" else "text"
        nodes.append(helper.make_node("Mul", [factor, f"{spec.name}_steps"], [spec.name]))
    return _model(nodes, contract.multitask_inputs, contract.outputs, constants)


def _model(nodes: list[Any], inputs: Any, outputs: Any, constants: list[Any]) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", [_info(s) for s in inputs], [_info(s) for s in outputs], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model


def _info(spec: TensorSpec) -> Any:
    shape = ["batch", *(f"{spec.name}_width" if size == -1 else size for size in spec.shape)]
    return helper.make_tensor_value_info(spec.name, ONNX_TYPES[spec.dtype], shape)
