"""Write a torch module as ONNX with the tensor names of the contract."""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import onnx
import torch
from torch import Tensor, nn

from polytask.tensors import TensorSpec

OPSET = 20
# Any size that is neither 0 nor 1 leaves the batch axis open.
EXAMPLE_BATCH = 3
EXAMPLE_TOKENS = 16


def export_graph(
    module: nn.Module,
    inputs: list[TensorSpec],
    outputs: list[TensorSpec],
    path: Path,
    widths: Mapping[str, int] = MappingProxyType({}),
) -> Path:
    """Write `module` as ONNX with these tensor names; the batch and every length of -1 stay open. Returns `path`.

    `module` takes the inputs as keywords of the same names. `widths` has the inputs (B, W) that an elementwise operator
    broadcasts, with the W that they have there when it is not 1.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    inputs = [spec.model_copy(update={"shape": (widths.get(spec.name, spec.shape[0]),)}) for spec in inputs]
    batch = torch.export.Dim("batch", min=1, max=4096)
    tokens = torch.export.Dim("tokens", min=2, max=512)
    dynamic = {
        spec.name: {0: batch, **{1 + axis: tokens for axis, size in enumerate(spec.shape) if size < 0}}
        for spec in inputs
    }
    # The exporter logs its progress and its opinions on standard output; the caller shows progress of its own.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(),
            kwargs={spec.name: _example(spec) for spec in inputs},
            input_names=[spec.name for spec in inputs],
            output_names=[spec.name for spec in outputs],
            dynamic_shapes=dynamic,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_the_source(model)
    for value in model.graph.input:
        # torch.export would fix W to the size of the other operand; in ONNX the same operator broadcasts W = 1 too.
        if value.name in widths:
            value.type.tensor_type.shape.dim[1].dim_param = f"{value.name}_width"
    onnx.save(model, path)
    return path


def _forget_the_source(model: onnx.ModelProto) -> None:
    """Remove the source paths and line numbers that the exporter notes on every node.

    With them the same model would have another checksum, and so another version, wherever it is exported.
    """
    for part in (model.graph, *model.functions):
        for node in part.node:
            node.ClearField("metadata_props")
            node.ClearField("doc_string")
        for value in part.value_info:
            value.ClearField("metadata_props")
    for holder in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        holder.ClearField("metadata_props")
    for field in ("metadata_props", "doc_string"):
        model.ClearField(field)
        model.graph.ClearField(field)


def _example(spec: TensorSpec) -> Tensor:
    shape = (EXAMPLE_BATCH, *(EXAMPLE_TOKENS if size < 0 else size for size in spec.shape))
    if spec.dtype != "FP32":
        return torch.ones(shape, dtype=torch.int64 if spec.dtype == "INT64" else torch.bool)
    return torch.linspace(-1.0, 1.0, int(torch.tensor(shape).prod())).reshape(shape)
