"""The configuration files, read back with the protobuf parser that Triton's own client ships."""

import subprocess
from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from polytask.contract.contract import Contract, load_contract
from polytask.contract.tensors import TensorSpec
from polytask.errors import ContractError
from polytask.export.onnx import check_sizes
from polytask.scenario import Scenario
from polytask.storage.atomic import sha256_file
from serving.triton.checksums import check_sums
from serving.triton.repository import write_repository
from tests.serving.triton.tiny import ONNX_TYPES, TEXT_DIM, VERSION, tiny_contract, write_models

DTYPES = {
    model_config_pb2.TYPE_INT64: "INT64",
    model_config_pb2.TYPE_FP32: "FP32",
    model_config_pb2.TYPE_BOOL: "BOOL",
}


@pytest.fixture
def contract(small_scenario: Scenario) -> Contract:
    return tiny_contract(small_scenario)


def read_config(repository: Path, model: str, file: str = "config.pbtxt"):
    text = (repository / model / file).read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def tensors(entries) -> dict[str, tuple[str, list[int]]]:
    return {entry.name: (model_config_pb2.DataType.Name(entry.data_type), list(entry.dims)) for entry in entries}


def test_models_carry_the_contracts_tensors(contract: Contract, tmp_path: Path) -> None:
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path, threads=3)
    text, tasks = read_config(tmp_path, "text_encoder"), read_config(tmp_path, "multitask")
    assert tensors(text.input) == {"input_ids": ("TYPE_INT64", [-1]), "attention_mask": ("TYPE_INT64", [-1])}
    assert tensors(text.output) == {"text_vector": ("TYPE_FP32", [TEXT_DIM])}
    assert tensors(tasks.input) == {
        "text_vector": ("TYPE_FP32", [TEXT_DIM]),
        "history": ("TYPE_INT64", [10]),
        "seen": ("TYPE_INT64", [48]),
        "user": ("TYPE_INT64", [1]),
        "disliked": ("TYPE_INT64", [16]),
        "allowed": ("TYPE_BOOL", [-1]),
    }
    assert tensors(tasks.output) == {
        "item_ids": ("TYPE_INT64", [10]),
        "item_scores": ("TYPE_FP32", [10]),
        "user_ids": ("TYPE_INT64", [10]),
        "user_scores": ("TYPE_FP32", [10]),
        "scene_scores": ("TYPE_FP32", [4]),
        "encoded_text": ("TYPE_FP32", [TEXT_DIM]),
    }
    for config in (text, tasks):
        assert config.backend == "onnxruntime"
        assert config.max_batch_size == 128
        assert config.HasField("dynamic_batching")
        assert config.dynamic_batching.max_queue_delay_microseconds == 0
        assert not config.dynamic_batching.preferred_batch_size
        queue = config.dynamic_batching.default_queue_policy
        assert (queue.max_queue_size, queue.default_timeout_microseconds) == (512, 10_000_000)
        assert queue.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
        assert not queue.allow_timeout_override
        assert list(config.version_policy.specific.versions) == [VERSION]
        assert [(group.count, group.kind) for group in config.instance_group] == [
            (2, model_config_pb2.ModelInstanceGroup.KIND_AUTO)
        ]
        assert config.parameters["intra_op_thread_count"].string_value == "3"
        assert config.parameters["session.intra_op.allow_spinning"].string_value == "0"


def test_ensemble_pins_both_steps_and_tells_the_text_vector_by_the_last_of_them(
    contract: Contract, tmp_path: Path
) -> None:
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path)
    config = read_config(tmp_path, "recommender")
    assert config.platform == "ensemble"
    assert list(tensors(config.input)) == [spec.name for spec in contract.ensemble_inputs]
    assert "text_vector" not in tensors(config.input)
    assert list(tensors(config.output)) == [*(spec.name for spec in contract.answers), "encoded_text"]
    steps = [(step.model_name, step.model_version) for step in config.ensemble_scheduling.step]
    assert steps == [("text_encoder", VERSION), ("multitask", VERSION)]
    first, second = config.ensemble_scheduling.step
    assert dict(first.output_map) == {"text_vector": "text_vector"}
    assert dict(second.input_map)["text_vector"] == "text_vector"
    # What goes from step to step must be no output: Triton would wait for it for ever.
    assert not set(dict(first.output_map).values()) & set(tensors(config.output))
    assert dict(second.output_map)["encoded_text"] == "encoded_text"
    assert any((tmp_path / "recommender" / str(VERSION)).iterdir()), "an empty folder is lost on the way to a bucket"


GPU_FILES = ("configs/gpu.pbtxt", "configs/tensorrt.pbtxt")


def accelerators(config) -> dict[str, dict[str, str]]:
    assert not config.optimization.execution_accelerators.cpu_execution_accelerator
    providers = config.optimization.execution_accelerators.gpu_execution_accelerator
    return {entry.name: dict(entry.parameters) for entry in providers}


@pytest.mark.parametrize("model", ["text_encoder", "multitask"])
def test_gpu_configurations_want_a_gpu_and_differ_in_what_concerns_it_alone(
    contract: Contract, tmp_path: Path, model: str
) -> None:
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path)
    default = read_config(tmp_path, model)
    assert accelerators(default) == {"cuda": {"use_tf32": "0"}}
    for file in GPU_FILES:
        config = read_config(tmp_path, model, file)
        assert [group.kind for group in config.instance_group] == [model_config_pb2.ModelInstanceGroup.KIND_GPU]
        assert accelerators(config)["cuda"] == {"use_tf32": "0"}
        for field in ("instance_group", "optimization", "model_warmup"):
            config.ClearField(field)
        other = read_config(tmp_path, model)
        for field in ("instance_group", "optimization", "model_warmup"):
            other.ClearField(field)
        assert config == other
    assert not (tmp_path / "recommender" / "configs").exists()


def test_tensorrt_runs_the_text_encoder_alone_and_builds_no_engine_in_a_request(
    contract: Contract, tmp_path: Path
) -> None:
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path)
    assert list(accelerators(read_config(tmp_path, "multitask", "configs/tensorrt.pbtxt"))) == ["cuda"]
    for file in ("config.pbtxt", "configs/gpu.pbtxt"):
        assert list(accelerators(read_config(tmp_path, "text_encoder", file))) == ["cuda"]
    config = read_config(tmp_path, "text_encoder", "configs/tensorrt.pbtxt")
    assert list(accelerators(config)) == ["tensorrt", "cuda"]  # what TensorRT cannot run, CUDA does
    parameters = accelerators(config)["tensorrt"]
    assert not set(parameters) - TENSORRT_KEYS, "the C++ backend refuses an unknown key"
    assert parameters["precision_mode"] == "FP16"
    assert parameters["trt_engine_cache_path"] == f"/var/cache/tensorrt/text_encoder-{VERSION}"
    assert parameters["trt_timing_cache_path"] == "/var/cache/tensorrt"
    shapes = {}
    for which in ("min", "opt", "max"):
        entries = [entry.split(":") for entry in parameters[f"trt_profile_{which}_shapes"].split(",")]
        shapes[which] = {name: tuple(map(int, sizes.split("x"))) for name, sizes in entries}
    for which in shapes:
        assert list(shapes[which]) == [tensor.name for tensor in config.input]
    # Every batch size and every length that the tokenizer pads to is inside of the profile.
    for name in shapes["min"]:
        assert shapes["min"][name] == (1, 8)
        assert shapes["max"][name] == (config.max_batch_size, contract.max_tokens)
        assert shapes["min"][name] <= shapes["opt"][name] <= shapes["max"][name]
    for warm_up in config.model_warmup:
        for name, value in warm_up.inputs.items():
            assert shapes["min"][name][1] <= value.dims[0] <= shapes["max"][name][1]


# Those that the backend of 26.08 knows; with any other it does not load the model.
TENSORRT_KEYS = {
    "precision_mode",
    "max_workspace_size_bytes",
    "trt_engine_cache_enable",
    "trt_engine_cache_path",
    "trt_layer_norm_fp32_fallback",
    "trt_profile_max_shapes",
    "trt_profile_min_shapes",
    "trt_profile_opt_shapes",
    "trt_timing_cache_enable",
    "trt_timing_cache_path",
}


def test_every_length_is_warmed_up_before_the_model_is_ready(contract: Contract, tmp_path: Path) -> None:
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path)

    def warmed(model: str, file: str) -> list[tuple[int, int]]:
        config = read_config(tmp_path, model, file)
        opened = [tensor.name for tensor in config.input if list(tensor.dims) == [-1]]
        for request in config.model_warmup:
            assert {name: list(value.dims) for name, value in request.inputs.items() if name not in opened} == {
                tensor.name: list(tensor.dims) for tensor in config.input if tensor.name not in opened
            }
        return [(request.batch_size, request.inputs[opened[0]].dims[0]) for request in config.model_warmup]

    assert warmed("text_encoder", "config.pbtxt") == [(1, 8), (1, 16), (1, 24), (1, 32)]
    assert warmed("multitask", "config.pbtxt") == [(1, 1)]
    for file in GPU_FILES:
        lengths = [(batch, length) for length in (8, 16, 24, 32) for batch in (1, 128)]
        assert warmed("text_encoder", file) == lengths
        assert warmed("multitask", file) == [(1, 1), (128, 1)]


def test_masks_of_filters_are_warmed_up_too(ruled_bundle: Path) -> None:
    config = read_config(ruled_bundle / "repository", "multitask")
    assert [request.inputs["allowed"].dims[0] for request in config.model_warmup] == [1, 61]


def test_the_number_of_instances_is_the_scenarios(small_scenario: Scenario, tmp_path: Path) -> None:
    export = small_scenario.export.model_copy(update={"instances": 5})
    contract = tiny_contract(small_scenario.model_copy(update={"export": export}))
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path)
    for model in ("text_encoder", "multitask"):
        assert [group.count for group in read_config(tmp_path, model).instance_group] == [5]


def test_the_list_of_checksums_covers_every_file(contract: Contract, tmp_path: Path) -> None:
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path)
    done = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == files - {"SHA256SUMS"}
    assert check_sums(tmp_path) == sha256_file(tmp_path / "SHA256SUMS")
    (tmp_path / "multitask" / "extra.txt").write_text("x")
    with pytest.raises(ContractError, match=r"extra.txt: [0-9a-f]{64}, SHA256SUMS lists no such file"):
        check_sums(tmp_path)


def test_a_missing_onnx_file_is_named(contract: Contract, tmp_path: Path) -> None:
    write_models(contract, tmp_path)
    (tmp_path / "multitask" / str(VERSION)).rename(tmp_path / "multitask" / "1")
    with pytest.raises(ContractError, match=f"multitask/{VERSION}/model.onnx: is missing"):
        write_repository(contract, tmp_path)


@pytest.mark.parametrize("bundle", ["small_bundle", "ruled_bundle"])
@pytest.mark.parametrize("file", ["config.pbtxt", *GPU_FILES])
def test_exported_configurations_fit_their_onnx_files_by_the_rules_of_the_c_backend(
    bundle: str, file: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(bundle)
    contract = load_contract(folder)
    for model in ("text_encoder", "multitask"):
        config = read_config(folder / "repository", model, file)
        graph = onnx.load(folder / contract.models[model].path)
        sides = [
            [TensorSpec(name=entry.name, dtype=DTYPES[entry.data_type], shape=tuple(entry.dims)) for entry in entries]
            for entries in (config.input, config.output)
        ]
        check_sizes(graph, *sides)
        values = {value.name: value for value in (*graph.graph.input, *graph.graph.output)}
        for spec in (*sides[0], *sides[1]):
            assert ONNX_TYPES[spec.dtype] == values[spec.name].type.tensor_type.elem_type, spec.name
