"""The ModelConfig of each model of the repository, for each kind of machine that it is served on.

    default     an instance is on the GPU where Triton finds one, else on the CPU: this machine, the component `cpu`
    gpu         instances on a GPU alone: Triton refuses to load the model where there is none
    tensorrt    the same, and the text encoder runs in TensorRT

Triton takes another than the default by `--model-config-name`. What is set for GPUs was checked against the source of
ONNX Runtime 1.28 and of Triton's backend, and loads on its CPU build; it has not run on a GPU.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from polytask.contract.contract import MULTITASK, RECOMMENDER, TEXT_ENCODER, Contract
from polytask.contract.tensors import ALLOWED, ATTENTION_MASK, INPUT_IDS, TensorSpec
from polytask.scenario.names import ITEMS
from polytask.text.templates import TOKEN_BUCKET, bucket
from serving.triton.pbtxt import Message, Word

Machine = Literal["default", "gpu", "tensorrt"]
MACHINES: tuple[Machine, ...] = ("default", "gpu", "tensorrt")

MODEL_FILE = "model.onnx"
MAX_BATCH_SIZE = 128
# On a CPU, one thread an instance: threads that share one small call spend half again its CPU time on waking each other
# (ADR 0031).
THREADS = 1
# A request that waits for longer than any caller does is rejected with UNAVAILABLE, and so is one that finds so many
# waiting: one full transformer has 256 calls in flight and queued.
MAX_QUEUE_SIZE = 512
QUEUE_TIMEOUT_MICROSECONDS = 10_000_000
# The component `tensorrt` mounts a claim here: engines and tactics outlive the pod that built them.
ENGINE_FOLDER = "/var/cache/tensorrt"
OPTIMAL_BATCH_SIZE = 8


def onnx_config(name: str, contract: Contract, machine: Machine, threads: int = THREADS) -> Message:
    """The ModelConfig of one ONNX model, with dynamic batching and no queue delay.

    There is no `preferred_batch_size`: no difference was measured, and a batch that has to fill waits for nothing else.
    """
    inputs, outputs = {
        TEXT_ENCODER: (contract.text_inputs, contract.text_outputs),
        MULTITASK: (contract.multitask_inputs, contract.outputs),
    }[name]
    parameters = {
        "intra_op_thread_count": str(threads),
        # The python-based backend passes these on, since it shares its cores and spinning threads halve the speed. The
        # C++ backend passes no `session.*` parameter on but that of the allocator.
        "session.intra_op.allow_spinning": "0",
        "session.inter_op.allow_spinning": "0",
    }
    kind = "KIND_AUTO" if machine == "default" else "KIND_GPU"
    queue: Message = [
        ("timeout_action", Word("REJECT")),
        ("default_timeout_microseconds", QUEUE_TIMEOUT_MICROSECONDS),
        ("max_queue_size", MAX_QUEUE_SIZE),
    ]
    return [
        ("name", name),
        ("backend", "onnxruntime"),
        ("default_model_filename", MODEL_FILE),
        ("max_batch_size", MAX_BATCH_SIZE),
        *[("input", _tensor(spec)) for spec in inputs],
        *[("output", _tensor(spec)) for spec in outputs],
        ("version_policy", _version_policy(contract)),
        ("instance_group", [("count", contract.scenario.export.instances), ("kind", Word(kind))]),
        ("dynamic_batching", [("max_queue_delay_microseconds", 0), ("default_queue_policy", queue)]),
        ("optimization", _accelerators(name, contract, machine)),
        *[("model_warmup", request) for request in _warm_up(name, contract, inputs, machine)],
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


def token_lengths(max_tokens: int) -> list[int]:
    """The lengths T that the tokenizer pads to."""
    return sorted({bucket(length, max_tokens) for length in range(1, max_tokens + TOKEN_BUCKET)})


def tensorrt_parameters(contract: Contract) -> dict[str, str]:
    """Options of the TensorRT execution provider for the text encoder.

    With a profile, the engine is built when the model loads and takes every batch size and length; without one, a
    request of a new shape would build another. TensorRT runs the text encoder alone: the score that masks a row, -1e9,
    is none that half precision can hold.
    """
    lengths = token_lengths(contract.max_tokens)
    profile = {
        "min": (1, lengths[0]),
        "opt": (OPTIMAL_BATCH_SIZE, lengths[-1]),
        "max": (MAX_BATCH_SIZE, lengths[-1]),
    }
    return {
        "precision_mode": "FP16",
        "max_workspace_size_bytes": str(2**30),
        "trt_layer_norm_fp32_fallback": "true",
        "trt_engine_cache_enable": "true",
        # A folder per version: engines are of one model. Timings are of a GPU, and serve all.
        "trt_engine_cache_path": f"{ENGINE_FOLDER}/{TEXT_ENCODER}-{contract.model_version}",
        "trt_timing_cache_enable": "true",
        "trt_timing_cache_path": ENGINE_FOLDER,
        **{
            f"trt_profile_{which}_shapes": ",".join(f"{name}:{batch}x{length}" for name in (INPUT_IDS, ATTENTION_MASK))
            for which, (batch, length) in profile.items()
        },
    }


def _accelerators(name: str, contract: Contract, machine: Machine) -> Message:
    """Execution providers of an instance on a GPU, in the order of preference; an instance on a CPU skips them."""
    # TF32 rounds products of float32 to 10 bits: parity with torch is 1e-5.
    providers: dict[str, Mapping[str, str]] = {"cuda": {"use_tf32": "0"}}
    if machine == "tensorrt" and name == TEXT_ENCODER:
        providers = {"tensorrt": tensorrt_parameters(contract), **providers}
    return [("execution_accelerators", [_accelerator(provider, options) for provider, options in providers.items()])]


def _accelerator(provider: str, options: Mapping[str, str]) -> tuple[str, Message]:
    parameters: Message = [("parameters", [("key", key), ("value", value)]) for key, value in options.items()]
    return "gpu_execution_accelerator", [("name", provider), *parameters]


def _warm_up(name: str, contract: Contract, inputs: Sequence[TensorSpec], machine: Machine) -> Iterator[Message]:
    """One request per length that requests come in, before the model is ready; on a GPU the largest batch too."""
    widths = token_lengths(contract.max_tokens) if name == TEXT_ENCODER else [1]
    if ITEMS in contract.catalogues and any(spec.name == ALLOWED for spec in inputs):
        widths.append(contract.catalogues[ITEMS].rows + 1)
    for width in widths:
        for batch in (1,) if machine == "default" else (1, MAX_BATCH_SIZE):
            values = [_zeros(spec, width) for spec in inputs]
            yield [("name", f"{batch} x {width}"), ("batch_size", batch), *values]


def _zeros(spec: TensorSpec, width: int) -> tuple[str, Message]:
    dims = [width if size < 0 else size for size in spec.shape]
    value: Message = [("data_type", Word(f"TYPE_{spec.dtype}")), ("dims", dims), ("zero_data", Word("true"))]
    return "inputs", [("key", spec.name), ("value", value)]


def _tensor(spec: TensorSpec) -> Message:
    return [("name", spec.name), ("data_type", Word(f"TYPE_{spec.dtype}")), ("dims", list(spec.shape))]


def _parameter(key: str, value: str) -> Message:
    return [("key", key), ("value", [("string_value", value)])]


def _version_policy(contract: Contract) -> Message:
    return [("specific", [("versions", [contract.model_version])])]


def _step(model: str, contract: Contract, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> Message:
    return [
        ("model_name", model),
        ("model_version", contract.model_version),
        *[("input_map", [("key", spec.name), ("value", spec.name)]) for spec in inputs],
        *[("output_map", [("key", spec.name), ("value", spec.name)]) for spec in outputs],
    ]
