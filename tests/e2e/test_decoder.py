"""A decoder, tuned with adapters while the tasks train: from the pipeline's jobs to the responses of a real Triton."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from tritonclient import grpc as triton

from polytask.contract.contract import RECOMMENDER, REPOSITORY_FOLDER, load_contract
from polytask.data.tables import write_tables
from polytask.export.parity import outputs_of
from polytask.jobs.evaluate import evaluate_model
from polytask.jobs.export import export_model
from polytask.jobs.inputs import load_dataset
from polytask.jobs.train import train_model
from polytask.scenario import Scenario
from polytask.text.language_model import LanguageModel
from polytask.training.checkpoint import language_model_of, load_checkpoint
from serving.local.triton import TritonServer
from serving.triton.repository import write_repository
from tests.polytask.tiny_language_models import write_language_model
from tests.small import training_frame

TIMEOUT = 20.0
DTYPES = {np.dtype(np.int64): "INT64", np.dtype(np.float32): "FP32", np.dtype(np.bool_): "BOOL"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("decoder")


@pytest.fixture(scope="module")
def scenario(small_scenario, folder):
    """The small scenario over a Qwen of two layers, stored in bf16, whose last token is the text's vector."""
    encoder = {
        "model": str(write_language_model(folder / "qwen2", "qwen2", torch.bfloat16)),
        "pooling": "last",
        "training": "lora",
        "learning_rate": 1e-3,
    }
    return Scenario.model_validate({**small_scenario.model_dump(), "encoder": encoder})


@pytest.fixture(scope="module")
def inputs(scenario, tables, folder, triton_installation):
    # The installation is shared with other tests: it is made before the cache moves.
    write_tables(tables, folder / "tables")
    training_frame(scenario, tables).to_parquet(folder / "rows.parquet")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("POLYTASK_CACHE", str(folder / "cache"))
        yield scenario, folder / "tables", folder / "rows.parquet"


@pytest.fixture(scope="module")
def checkpoint(inputs, folder):
    train_model(*inputs, folder / "model", lambda line: None)
    return folder / "model"


@pytest.fixture(scope="module")
def bundle(inputs, checkpoint, folder):
    evaluate_model(*inputs, checkpoint, folder / "evaluation.json")
    export_model(
        *inputs,
        checkpoint,
        folder / "evaluation.json",
        folder / "bundle",
        lambda contract, place: write_repository(contract, place / REPOSITORY_FOLDER),
    )
    return folder / "bundle"


def test_checkpoint_holds_the_tuned_model_and_no_pickles(scenario, checkpoint, folder):
    names = {path.relative_to(checkpoint).as_posix() for path in checkpoint.rglob("*") if path.is_file()}
    tuned = {"encoder/config.json", "encoder/model.safetensors", "encoder/tokenizer.json"}
    assert names == {"model.safetensors", "scenario.json", "training.json", *tuned}
    assert str(folder) not in (checkpoint / "encoder" / "config.json").read_text(encoding="utf-8")
    with safe_open(checkpoint / "encoder" / "model.safetensors", framework="pt") as file:
        weights = set(file.keys())
    with safe_open(folder / "qwen2" / "model.safetensors", framework="pt") as file:
        assert weights == set(file.keys())  # the adapters are merged
    assert language_model_of(checkpoint, scenario).sha256 != LanguageModel(scenario).sha256


def test_triton_answers_like_the_tuned_model(inputs, checkpoint, bundle, triton_installation, tmp_path):
    language_model = language_model_of(checkpoint, inputs[0])
    contract = load_contract(bundle)
    assert contract.encoder_sha256 == language_model.sha256
    dataset = load_dataset(*inputs, language_model, lambda line: None)
    requests = dataset.requests(np.flatnonzero(dataset.split == "test")[:7])
    encoder = dataset.request_encoder()
    ids, mask = language_model.tokenizer([encoder.text(request) for request in requests])
    feed = {"input_ids": ids, "attention_mask": mask, **encoder.rows(requests)}
    model = load_checkpoint(checkpoint, language_model.sha256)
    expected, _ = outputs_of(bundle, contract, model, language_model, encoder, requests)
    with (
        TritonServer(bundle / REPOSITORY_FOLDER, triton_installation, tmp_path / "triton.log") as server,
        triton.InferenceServerClient(server.grpc_address) as client,
    ):
        tensors = []
        for name, values in feed.items():
            tensors.append(triton.InferInput(name, list(values.shape), DTYPES[values.dtype]))
            tensors[-1].set_data_from_numpy(values)
        result = client.infer(RECOMMENDER, tensors, client_timeout=TIMEOUT)
    for name in [spec.name for spec in contract.answers]:
        np.testing.assert_allclose(result.as_numpy(name), expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
