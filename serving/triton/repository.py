"""Write the Triton model repository's `config.pbtxt` files from the contract.

    text_encoder   input_ids, attention_mask        -> text_vector
    multitask      text_vector, history, seen, user, negative -> one tensor group per task
    recommender    ensemble of the two, in this order; of the text vector `multitask` tells a copy, `encoded_text`

The files are complete: Triton runs with `--disable-auto-complete-config`, and both the C++ `onnxruntime` backend and
the python-based one of `serving/triton/backend/` read them unchanged. One repository serves everywhere: an instance of
KIND_AUTO is on the GPU where Triton finds one and on the CPU elsewhere.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from polytask.atomic import write_text
from polytask.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER, Contract
from polytask.errors import ContractError
from polytask.tensors import TensorSpec
from serving.triton.checksums import write_sums

Accelerator = Literal["auto", "cpu", "gpu"]

MAX_BATCH_SIZE = 128
# On a CPU, one thread an instance: threads that share one small call spend half again its CPU time on waking each other
# (ADR 0031). A second instance takes the other core where there is a second batch, and overlaps copies on a GPU.
INSTANCES = 2
THREADS = 1
# With a queue that is longer, a batch takes the largest of these that it fills: the sizes that a GPU runs best and that
# TensorRT has a plan for. Nothing waits for a batch to fill.
PREFERRED_BATCH_SIZES = (8, 32, 128)
TENSORRT = {
    "precision_mode": "FP16",
    "max_workspace_size_bytes": str(2**30),
    # Building the engines takes minutes; they are kept on the pod's own volume, for a restart of the container.
    "trt_engine_cache_enable": "true",
    "trt_engine_cache_path": "/tmp/tensorrt",  # noqa: S108 - of the pod, which runs nothing else
}
CONFIG_FILE = "config.pbtxt"
MODEL_FILE = "model.onnx"
STEPS_FILE = "steps.txt"


class Word(str):
    """An enum value: it stands in the text without quotation marks."""


# A message of the protobuf text format: its fields in order; a repeated field stands there several times.
Message = Sequence[tuple[str, "str | int | Sequence[int] | Message"]]


def write_repository(
    contract: Contract,
    folder: Path,
    *,
    accelerator: Accelerator = "auto",
    instances: int = INSTANCES,
    threads: int = THREADS,
    tensorrt: bool = False,
) -> None:
    """Write `config.pbtxt` of the three models into the repository `folder`, beside the ONNX files already there, and
    the checksums of all files.

    `threads` is the number of intra-op threads of each model instance on a CPU; `accelerator` says where instances run,
    and there are `instances` on each device. With `tensorrt` an instance on a GPU runs what TensorRT can run of the
    graph in half precision, the rest with CUDA; an instance on a CPU takes no notice.
    Raises ContractError where an ONNX file of the contract's version is missing.
    """
    version = str(contract.model_version)
    for model in (TEXT_ENCODER, MULTITASK):
        path = folder / model / version / MODEL_FILE
        if not path.is_file():
            raise ContractError(f"{path}: is missing; the contract has model version {version}")
    settings = (accelerator, instances, threads, tensorrt)
    text_encoder = onnx_config(TEXT_ENCODER, contract, contract.text_inputs, contract.text_outputs, *settings)
    multitask = onnx_config(MULTITASK, contract, contract.multitask_inputs, contract.outputs, *settings)
    write_text(folder / TEXT_ENCODER / CONFIG_FILE, pbtxt(text_encoder))
    write_text(folder / MULTITASK / CONFIG_FILE, pbtxt(multitask))
    write_text(folder / RECOMMENDER / CONFIG_FILE, pbtxt(ensemble_config(contract)))
    # Triton wants the version folder of an ensemble to exist; object stores and git drop a folder without files.
    steps = f"{TEXT_ENCODER}/{version} -> {MULTITASK}/{version}\n"
    write_text(folder / RECOMMENDER / version / STEPS_FILE, steps)
    write_sums(folder)


def onnx_config(
    name: str,
    contract: Contract,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    accelerator: Accelerator,
    instances: int,
    threads: int,
    tensorrt: bool,
) -> Message:
    """The ModelConfig of one ONNX model with dynamic batching and no queue delay."""
    kind = {"auto": "KIND_AUTO", "cpu": "KIND_CPU", "gpu": "KIND_GPU"}[accelerator]
    parameters = {
        "intra_op_thread_count": str(threads),
        # The C++ backend passes no `session.*` entry but its allocator's on to ONNX Runtime and skips the others; the
        # python-based backend passes all: it shares its cores, where spinning threads halve the speed.
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
    }
    return [
        ("name", name),
        ("backend", "onnxruntime"),
        ("default_model_filename", MODEL_FILE),
        ("max_batch_size", MAX_BATCH_SIZE),
        *[("input", _tensor(spec)) for spec in inputs],
        *[("output", _tensor(spec)) for spec in outputs],
        ("version_policy", _version_policy(contract)),
        ("instance_group", [("count", instances), ("kind", Word(kind))]),
        (
            "dynamic_batching",
            [("preferred_batch_size", PREFERRED_BATCH_SIZES), ("max_queue_delay_microseconds", 0)],
        ),
        *([("optimization", _tensorrt())] if tensorrt else []),
        *[("parameters", _parameter(key, value)) for key, value in sorted(parameters.items())],
    ]


def ensemble_config(contract: Contract) -> Message:
    """The ModelConfig of `recommender`: both steps pinned to the contract's version, nothing between them an output."""
    return [
        ("name", RECOMMENDER),
        ("platform", "ensemble"),
        ("max_batch_size", MAX_BATCH_SIZE),
        *[("input", _tensor(spec)) for spec in contract.ensemble_inputs],
        *[("output", _tensor(spec)) for spec in contract.ensemble_outputs],
        ("version_policy", _version_policy(contract)),
        (
            "ensemble_scheduling",
            [
                ("step", _step(TEXT_ENCODER, contract, contract.text_inputs, contract.text_outputs)),
                ("step", _step(MULTITASK, contract, contract.multitask_inputs, contract.ensemble_outputs)),
            ],
        ),
    ]


def pbtxt(message: Message, indent: int = 0) -> str:
    """The message in protobuf's text format."""
    lines = []
    for field, value in message:
        if isinstance(value, Word):
            lines.append(f"{field}: {value}")
        elif isinstance(value, str | int):
            lines.append(f"{field}: {json.dumps(value)}")
        else:
            numbers = [entry for entry in value if isinstance(entry, int)]
            fields = [entry for entry in value if not isinstance(entry, int)]
            inside = f"{{\n{pbtxt(fields, indent + 1)}{'  ' * indent}}}"
            lines.append(f"{field}: {json.dumps(numbers)}" if numbers else f"{field} {inside}")
    return "".join(f"{'  ' * indent}{line}\n" for line in lines)


def _tensor(spec: TensorSpec) -> Message:
    return [("name", spec.name), ("data_type", Word(f"TYPE_{spec.dtype}")), ("dims", list(spec.shape))]


def _parameter(key: str, value: str) -> Message:
    return [("key", key), ("value", [("string_value", value)])]


def _tensorrt() -> Message:
    parameters = [("parameters", [("key", key), ("value", value)]) for key, value in TENSORRT.items()]
    accelerator = [("gpu_execution_accelerator", [("name", "tensorrt"), *parameters])]
    return [("execution_accelerators", accelerator)]


def _version_policy(contract: Contract) -> Message:
    return [("specific", [("versions", [contract.model_version])])]


def _step(model: str, contract: Contract, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Message:
    return [
        ("model_name", model),
        ("model_version", contract.model_version),
        *[("input_map", [("key", spec.name), ("value", spec.name)]) for spec in inputs],
        *[("output_map", [("key", spec.name), ("value", spec.name)]) for spec in outputs],
    ]
