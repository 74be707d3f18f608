"""The configuration files, read back with the protobuf parser that Triton's own client ships."""

import subprocess
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from polytask.atomic import sha256_file
from polytask.contract import Contract
from polytask.errors import ContractError
from polytask.scenario import Scenario
from serving.triton.checksums import check_sums
from serving.triton.repository import write_repository
from tests.serving.triton.tiny import TEXT_DIM, VERSION, tiny_contract, write_models


@pytest.fixture
def contract(small_scenario: Scenario) -> Contract:
    return tiny_contract(small_scenario)


def read_config(repository: Path, model: str):
    text = (repository / model / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def tensors(entries) -> dict[str, tuple[str, list[int]]]:
    return {entry.name: (model_config_pb2.DataType.Name(entry.data_type), list(entry.dims)) for entry in entries}


def test_models_carry_the_contracts_tensors(contract: Contract, tmp_path: Path) -> None:
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path, instances=2, threads=3)
    text, tasks = read_config(tmp_path, "text_encoder"), read_config(tmp_path, "multitask")
    assert tensors(text.input) == {"input_ids": ("TYPE_INT64", [-1]), "attention_mask": ("TYPE_INT64", [-1])}
    assert tensors(text.output) == {"text_vector": ("TYPE_FP32", [TEXT_DIM])}
    assert tensors(tasks.input) == {
        "text_vector": ("TYPE_FP32", [TEXT_DIM]),
        "history": ("TYPE_INT64", [10]),
        "seen": ("TYPE_INT64", [48]),
        "user": ("TYPE_INT64", [1]),
        "negative": ("TYPE_INT64", [16]),
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
        assert list(config.dynamic_batching.preferred_batch_size) == [8, 32, 128]
        assert not config.HasField("optimization")
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


def test_gpu_differs_in_the_instance_kind_alone(contract: Contract, tmp_path: Path) -> None:
    write_models(contract, tmp_path)
    texts = {}
    for accelerator in ("cpu", "gpu"):
        write_repository(contract, tmp_path, accelerator=accelerator)
        texts[accelerator] = {path.parent.name: path.read_text() for path in tmp_path.glob("*/config.pbtxt")}
    assert len(texts["cpu"]) == 3
    for model, text in texts["cpu"].items():
        assert text.replace("KIND_CPU", "KIND_GPU") == texts["gpu"][model]
    assert "KIND_GPU" in texts["gpu"]["multitask"]


def test_tensorrt_is_for_instances_on_a_gpu_and_changes_nothing_else(contract: Contract, tmp_path: Path) -> None:
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path)
    plain = read_config(tmp_path, "multitask")
    write_repository(contract, tmp_path, tensorrt=True)
    config = read_config(tmp_path, "multitask")
    (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (accelerator.name, accelerator.parameters["precision_mode"]) == ("tensorrt", "FP16")
    assert not config.optimization.execution_accelerators.cpu_execution_accelerator
    config.ClearField("optimization")
    assert config == plain


def test_the_list_of_checksums_covers_every_file(contract: Contract, tmp_path: Path) -> None:
    write_models(contract, tmp_path)
    write_repository(contract, tmp_path)
    done = subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {line.partition(":")[0] for line in done.stdout.splitlines()} == files - {"SHA256SUMS"}
    assert check_sums(tmp_path) == sha256_file(tmp_path / "SHA256SUMS")
    (tmp_path / "multitask" / "extra.txt").write_text("x")
    with pytest.raises(ContractError, match=r"extra.txt: [0-9a-f]{64}, SHA256SUMS says nothing of it"):
        check_sums(tmp_path)


def test_a_missing_onnx_file_is_named(contract: Contract, tmp_path: Path) -> None:
    write_models(contract, tmp_path)
    (tmp_path / "multitask" / str(VERSION)).rename(tmp_path / "multitask" / "1")
    with pytest.raises(ContractError, match=f"multitask/{VERSION}/model.onnx: is missing"):
        write_repository(contract, tmp_path)
