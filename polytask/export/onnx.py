"""Write a torch module as ONNX with the tensor names of the contract."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import onnx
import torch
from torch import Tensor, nn

from polytask.contract.tensors import TensorSpec
from polytask.errors import ExportError

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
    Raises ExportError where the graph that came out would not load in Triton with these specs, see `check_sizes`.
    """
    specs = (inputs, outputs)
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
    check_sizes(model, *specs)
    onnx.save(model, path)
    return path


def check_sizes(model: onnx.ModelProto, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Compare a graph with the sizes that `config.pbtxt` will have, by the rules of Triton's C++ ONNX Runtime backend.

    The batch is open everywhere. The sizes of an output are equal; those of an input are equal or open in the graph.
    Raises ExportError with the tensor and both shapes.
    """
    for side, values, specs in (("input", model.graph.input, inputs), ("output", model.graph.output, outputs)):
        shapes = {
            value.name: [dim.dim_value if dim.HasField("dim_value") else -1 for dim in value.type.tensor_type.shape.dim]
            for value in values
        }
        if list(shapes) != [spec.name for spec in specs]:
            raise ExportError(f"{side}s {list(shapes)} in the graph; expected {[spec.name for spec in specs]}")
        for spec in specs:
            shape, wanted = shapes[spec.name], [-1, *spec.shape]
            fits = len(shape) == len(wanted) and all(
                size == want or (side == "input" and size == -1) for size, want in zip(shape, wanted, strict=True)
            )
            if not fits or shape[0] != -1:
                raise ExportError(f"{side} {spec.name}: shape {shape} in the graph; expected {wanted}")


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
