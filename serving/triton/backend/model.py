"""A Triton backend for ONNX models, written in Python: what `backend: "onnxruntime"` means on this machine.

Triton runs this file in a stub process whose environment holds numpy 1 and onnxruntime alone, so it imports nothing
of Polytask. It reads the same `config.pbtxt` as the C++ backend and behaves as that one does: tensors go by name, a
configuration that does not fit the model is refused at load, and a request that ONNX Runtime refuses fails together
with its batch-mates. It goes further in one point: every `session.*` parameter reaches ONNX Runtime.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as triton

# ONNX Runtime's names of the types that ModelConfig calls TYPE_<key>.
ONNX_TYPES = {
    "BOOL": "tensor(bool)",
    "INT8": "tensor(int8)",
    "INT16": "tensor(int16)",
    "INT32": "tensor(int32)",
    "INT64": "tensor(int64)",
    "UINT8": "tensor(uint8)",
    "FP16": "tensor(float16)",
    "FP32": "tensor(float)",
    "FP64": "tensor(double)",
}
# `optimization.graph.level` of ModelConfig; without it, all optimizations.
GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


class TritonPythonModel:
    """One instance of one ONNX model. Triton calls its methods by name."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model of the version folder. Raises where the configuration does not fit it."""
        config = json.loads(args["model_config"])
        name = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / name
        if not path.is_file():
            raise triton.TritonModelException(f"unable to find '{path}' for model '{args['model_name']}'")
        providers = execution_providers(args["model_instance_kind"], int(args["model_instance_device_id"]))
        self.session = onnxruntime.InferenceSession(str(path), session_options(config), providers=providers)
        self.batched = int(config.get("max_batch_size", 0)) > 0
        self.inputs = [entry["name"] for entry in config["input"]]
        self.types = {entry["name"]: triton.triton_string_to_numpy(entry["data_type"]) for entry in config["input"]}
        self.outputs = {entry["name"] for entry in config["output"]}
        check_tensors("input", config["input"], self.session.get_inputs(), self.batched, complete=True)
        check_tensors("output", config["output"], self.session.get_outputs(), self.batched, complete=False)

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Run the requests of one batch at once and split the answer. Triton batches requests of equal shapes only."""
        parts = [self._read(request) for request in requests]
        named = [self.outputs.intersection(request.requested_output_names()) for request in requests]
        wanted = sorted(set().union(*named))
        if len(parts) == 1:
            feeds = parts[0]
        else:
            feeds = {name: np.concatenate([part[name] for part in parts]) for name in self.inputs}
        answers = dict(zip(wanted, self.session.run(wanted, feeds), strict=True))
        if len(parts) == 1:
            return [response(answers)]
        responses = []
        start = 0
        for names, part in zip(named, parts, strict=True):
            end = start + len(part[self.inputs[0]])
            responses.append(response({name: answers[name][start:end] for name in names}))
            start = end
        return responses

    def _read(self, request: Any) -> dict[str, Any]:
        tensors = {}
        for name in self.inputs:
            tensor = triton.get_input_tensor_by_name(request, name)
            if tensor is None:
                raise triton.TritonModelException(f"input '{name}' is missing; the model takes {self.inputs}")
            # An empty tensor arrives without its type.
            tensors[name] = np.asarray(tensor.as_numpy(), dtype=self.types[name])
        return tensors


def response(answers: Mapping[str, Any]) -> Any:
    """What one request gets. A slice of rows is not always contiguous memory, which the stub copies as it lies."""
    tensors = [triton.Tensor(name, np.ascontiguousarray(answer)) for name, answer in answers.items()]
    return triton.InferenceResponse(tensors)


def session_options(config: Mapping[str, Any]) -> Any:
    """ONNX Runtime's options from the parameters of a ModelConfig, under the names that the C++ backend gives them."""
    parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _integer(parameters, "intra_op_thread_count", 0)
    options.inter_op_num_threads = _integer(parameters, "inter_op_thread_count", 0)
    options.enable_cpu_mem_arena = bool(_integer(parameters, "enable_mem_arena", 1))
    options.enable_mem_pattern = bool(_integer(parameters, "enable_mem_pattern", 1))
    if _integer(parameters, "execution_mode", 0):
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = GRAPH_LEVELS.get(level, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    for key, value in parameters.items():
        if key.startswith("session."):
            options.add_session_config_entry(key, value)
    return options


def execution_providers(kind: str, device: int) -> list[Any]:
    """CUDA first for an instance of kind GPU, where this onnxruntime has it; the CPU always."""
    if kind == "GPU" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return [("CUDAExecutionProvider", {"device_id": device}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def check_tensors(side: str, entries: Sequence[Any], nodes: Sequence[Any], batched: bool, *, complete: bool) -> None:
    """Raise where a configured tensor has another name, type or shape than the model's; with `complete`, where the
    configuration leaves one of the model's tensors out.
    """
    known = {node.name: node for node in nodes}
    configured = {entry["name"] for entry in entries}
    if not configured <= known.keys() or (complete and configured != known.keys()):
        raise triton.TritonModelException(
            f"{side}s {sorted(configured)} in the configuration, the model has {sorted(known)}"
        )
    for entry in entries:
        node = known[entry["name"]]
        expected = ONNX_TYPES.get(entry["data_type"].removeprefix("TYPE_"))
        if node.type != expected:
            raise triton.TritonModelException(
                f"{side} '{node.name}': {entry['data_type']} in the configuration, the model has {node.type}"
            )
        dims = [-1] * batched + [int(size) for size in entry["dims"]]
        # A size that the graph only names may be any; where the shape is not known at all, so may its length.
        shape = [size if isinstance(size, int) else -1 for size in node.shape]
        fits = len(dims) == len(shape) and all(
            -1 in (want, have) or want == have for want, have in zip(dims, shape, strict=True)
        )
        if shape and not fits:
            raise triton.TritonModelException(
                f"{side} '{node.name}': shape {dims} in the configuration, the model has {shape}"
            )


def _integer(parameters: Mapping[str, str], key: str, default: int) -> int:
    try:
        return int(parameters.get(key, default))
    except ValueError as error:
        raise triton.TritonModelException(f"parameter '{key}': {parameters[key]!r}; allowed: an integer") from error
