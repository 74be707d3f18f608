"""A Triton backend for ONNX models, written in Python: what `backend: "onnxruntime"` means on this machine.

Triton runs this file in a stub process whose environment holds numpy 1 and onnxruntime alone, so it imports nothing
of Polytask. It reads the same `config.pbtxt` as the C++ backend and loads and refuses what that one does: each verdict
of `tests/serving/triton/verdicts.yaml` was measured on the C++ backend and is tested on both. Tensors go by name, and
a request that ONNX Runtime refuses fails together with its batch-mates. Two differences are deliberate: every
`session.*` parameter reaches ONNX Runtime, where the C++ backend ignores all but one, and what this backend cannot do
(ragged batches, sequences, batch inputs, custom operators, BF16) is refused at load.
"""

import json
import re
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
    "UINT16": "tensor(uint16)",
    "UINT32": "tensor(uint32)",
    "UINT64": "tensor(uint64)",
    "STRING": "tensor(string)",
    "FP16": "tensor(float16)",
    "FP32": "tensor(float)",
    "FP64": "tensor(double)",
}
# `optimization.graph.level` of ModelConfig; with any other value, all optimizations.
GRAPH_LEVELS = {
    -1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
}


BOOLEANS = {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}
INT_MAX = 2**31 - 1
ARENA_SHRINKAGE = "memory.enable_memory_arena_shrinkage"
UNSUPPORTED = ("sequence_batching", "batch_input", "batch_output", "model_operations")


class TritonPythonModel:
    """One instance of one ONNX model. Triton calls its methods by name."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the model of the version folder. Raises where the configuration does not fit it."""
        config = json.loads(args["model_config"])
        name = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / name
        if path.is_dir():
            path /= "model.onnx"
        if not path.is_file():
            raise triton.TritonModelException(f"unable to find '{path}' for model '{args['model_name']}'")
        check_features(config)
        options = session_options(config)
        providers = execution_providers(args["model_instance_kind"], int(args["model_instance_device_id"]))
        self.session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        self.run_options = run_options(config)
        batched = int(config.get("max_batch_size", 0)) > 0
        check_inputs(config.get("input", []), self.session, batched)
        check_outputs(config.get("output", []), self.session, batched)
        self.types = {entry["name"]: triton.triton_string_to_numpy(entry["data_type"]) for entry in config["input"]}
        self.optional = {entry["name"] for entry in config["input"] if entry.get("optional")}
        self.outputs = {entry["name"] for entry in config.get("output", [])}

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Run the requests of one batch at once and split the results. Triton batches requests of equal shapes only."""
        parts = [self._read(request) for request in requests]
        named = [self.outputs.intersection(request.requested_output_names()) for request in requests]
        wanted = sorted(set().union(*named))
        if not wanted:  # ONNX Runtime would take an empty list for all outputs
            raise triton.TritonModelException("at least one output must be requested")
        if len(parts) == 1:
            feeds = parts[0]
        else:
            feeds = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        answers = dict(zip(wanted, self.session.run(wanted, feeds, self.run_options), strict=True))
        if len(parts) == 1:
            return [response(answers)]
        responses = []
        start = 0
        for names, part in zip(named, parts, strict=True):
            end = start + len(next(iter(part.values())))
            responses.append(response({name: answers[name][start:end] for name in names}))
            start = end
        return responses

    def _read(self, request: Any) -> dict[str, Any]:
        tensors = {}
        for name, dtype in self.types.items():
            tensor = triton.get_input_tensor_by_name(request, name)
            if tensor is not None:
                # An empty tensor arrives without its type.
                tensors[name] = np.asarray(tensor.as_numpy(), dtype=dtype)
            elif name not in self.optional:
                raise triton.TritonModelException(f"input '{name}' is missing; the model takes {sorted(self.types)}")
        return tensors


def response(answers: Mapping[str, Any]) -> Any:
    """What one request gets. A slice of rows is not always contiguous memory, which the stub copies as it lies."""
    tensors = [triton.Tensor(name, np.ascontiguousarray(answer)) for name, answer in answers.items()]
    return triton.InferenceResponse(tensors)


def check_features(config: Mapping[str, Any]) -> None:
    """Raise for what this backend does not do, and for an accelerator that a build for CPUs does not have."""
    for field in UNSUPPORTED:
        if config.get(field, {}) not in ({}, [], {"op_library_filename": []}):
            raise triton.TritonModelException(f"'{field}' is not supported by the python-based backend")
    accelerators = config.get("optimization", {}).get("execution_accelerators", {})
    for accelerator in accelerators.get("cpu_execution_accelerator", []):
        # That of an instance on a GPU is skipped, as a build without GPU support skips it.
        raise triton.TritonModelException(f"unknown execution accelerator '{accelerator['name']}' for a CPU")


def session_options(config: Mapping[str, Any]) -> Any:
    """ONNX Runtime's options from the parameters of a ModelConfig, under the names that the C++ backend gives them."""
    parameters = {key: value["string_value"] for key, value in config.get("parameters", {}).items()}
    options = onnxruntime.SessionOptions()
    # For 0 and less ONNX Runtime chooses the number.
    options.intra_op_num_threads = max(0, _integer(parameters, "intra_op_thread_count", 0))
    options.inter_op_num_threads = max(0, _integer(parameters, "inter_op_thread_count", 0))
    options.enable_cpu_mem_arena = _boolean(parameters, "enable_mem_arena")
    options.enable_mem_pattern = _boolean(parameters, "enable_mem_pattern")
    mode = _integer(parameters, "execution_mode", 0)
    if mode not in (0, 1):
        raise triton.TritonModelException(f"parameter 'execution_mode': {mode}; allowed: 0 or 1")
    if mode:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    options.graph_optimization_level = GRAPH_LEVELS.get(level, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    for key, value in parameters.items():
        if key.startswith("session."):
            options.add_session_config_entry(key, value)
    return options


def run_options(config: Mapping[str, Any]) -> Any:
    """ONNX Runtime's options of each run. A value that it does not know fails the requests, not the load."""
    options = onnxruntime.RunOptions()
    shrinkage = config.get("parameters", {}).get(ARENA_SHRINKAGE, {}).get("string_value", "")
    if shrinkage:
        options.add_run_config_entry(ARENA_SHRINKAGE, shrinkage)
    return options


def execution_providers(kind: str, device: int) -> list[Any]:
    """CUDA first for an instance of kind GPU, where this onnxruntime has it; the CPU always."""
    if kind == "GPU" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        return [("CUDAExecutionProvider", {"device_id": device}), "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def check_inputs(entries: Sequence[Any], session: Any, batched: bool) -> None:
    """Raise where the configuration names other inputs than the model has, of other types, or of a size that the model
    does not take. A size that the model leaves open may be fixed; one that it fixes may not be left open.
    """
    nodes = {node.name: node for node in session.get_inputs()}
    initializers = {node.name: node for node in session.get_overridable_initializers()}
    optional = {entry["name"] for entry in entries if entry.get("optional")}
    required = [entry["name"] for entry in entries if entry["name"] not in optional]
    if sorted(required) != sorted(nodes) or not optional <= initializers.keys():
        raise triton.TritonModelException(
            f"inputs {sorted(required)} (optional: {sorted(optional)}) in the configuration, "
            f"the model has {sorted(nodes)} (optional: {sorted(initializers)})"
        )
    if optional and batched:
        raise triton.TritonModelException(f"optional inputs {sorted(optional)} in a model that batches")
    for entry in entries:
        if entry.get("allow_ragged_batch"):
            raise triton.TritonModelException(
                f"input '{entry['name']}': allow_ragged_batch is not supported by the python-based backend"
            )
        check_tensor("input", entry, {**initializers, **nodes}[entry["name"]], batched, open_sizes=True)


def check_outputs(entries: Sequence[Any], session: Any, batched: bool) -> None:
    """Raise where the configuration names an output that the model does not have, or one of another type or size. An
    output may be left out.
    """
    nodes = {node.name: node for node in session.get_outputs()}
    configured = {entry["name"] for entry in entries}
    if not configured <= nodes.keys():
        raise triton.TritonModelException(
            f"outputs {sorted(configured)} in the configuration, the model has {sorted(nodes)}"
        )
    for entry in entries:
        check_tensor("output", entry, nodes[entry["name"]], batched, open_sizes=False)


def check_tensor(side: str, entry: Mapping[str, Any], node: Any, batched: bool, *, open_sizes: bool) -> None:
    """Raise where a configured tensor has another type or shape than the model's. With `open_sizes` a size that the
    model leaves open fits any.
    """
    expected = ONNX_TYPES.get(entry["data_type"].removeprefix("TYPE_"))
    if node.type != expected:
        raise triton.TritonModelException(
            f"{side} '{node.name}': {entry['data_type']} in the configuration, the model has {node.type}"
        )
    sizes = [int(size) for size in entry.get("reshape", {}).get("shape", entry["dims"])]
    shape = [size if isinstance(size, int) else -1 for size in node.shape]
    if not shape:  # a scalar
        if any(size != 1 for size in sizes):
            raise triton.TritonModelException(f"{side} '{node.name}': dims {sizes} in the configuration of a scalar")
        return
    if batched and shape[0] != -1:
        raise triton.TritonModelException(
            f"{side} '{node.name}': shape {shape} in the model, whose first size must be open for it to batch"
        )
    dims = [-1] * batched + sizes
    fits = len(dims) == len(shape) and all(
        want == have or (open_sizes and have == -1) for want, have in zip(dims, shape, strict=True)
    )
    if not fits:
        raise triton.TritonModelException(
            f"{side} '{node.name}': shape {dims} in the configuration, the model has {shape}"
        )


def _integer(parameters: Mapping[str, str], key: str, default: int) -> int:
    """As C++ reads it: an integer and whatever follows it. There a number beyond 32 bits ends the server."""
    if key not in parameters:
        return default
    found = re.match(r"\s*[+-]?\d+", parameters[key])
    if found is None or not -INT_MAX - 1 <= int(found[0]) <= INT_MAX:
        raise triton.TritonModelException(f"parameter '{key}': {parameters[key]!r}; allowed: an integer of 32 bits")
    return int(found[0])


def _boolean(parameters: Mapping[str, str], key: str) -> bool:
    value = parameters.get(key, "true").lower()
    if value not in BOOLEANS:
        raise triton.TritonModelException(f"parameter '{key}': {value!r}; allowed: {', '.join(BOOLEANS)}")
    return BOOLEANS[value]
