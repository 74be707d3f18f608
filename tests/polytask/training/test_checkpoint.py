"""A model that was saved and loaded predicts the same, and refuses another language model."""

import pytest
import torch

from polytask.errors import ContractError
from polytask.model.multitask import MultiTaskModel
from polytask.training.checkpoint import checkpoint_sha256, load_checkpoint, save_checkpoint
from polytask.training.loop import Epoch


@pytest.fixture(scope="module")
def model(small_scenario):
    torch.manual_seed(0)
    return MultiTaskModel(small_scenario, torch.randn(13, 6), request_texts=torch.randn(9, 6), users=7)


def test_loaded_model_answers_alike(model, tmp_path):
    save_checkpoint(model, [Epoch(1, {"item": 2.5}, {"item": 1.0}, 0.1)], "sum", tmp_path / "model")
    loaded = load_checkpoint(tmp_path / "model", "sum")
    assert loaded.scenario == model.scenario
    assert not loaded.training
    history, text = torch.randint(0, 13, (4, 10)), torch.randn(4, 6)
    for name, score in model.score(history, text).items():
        torch.testing.assert_close(loaded.score(history, text)[name], score, rtol=0, atol=0)


def test_another_encoder_is_refused(model, tmp_path):
    save_checkpoint(model, [], "sum", tmp_path / "model")
    with pytest.raises(ContractError, match="trained on encoder sum, the scenario's encoder is other"):
        load_checkpoint(tmp_path / "model", "other")


def test_checksum_knows_the_weights(model, tmp_path):
    save_checkpoint(model, [], "sum", tmp_path / "one")
    save_checkpoint(model, [Epoch(1, {"item": 2.5}, {"item": 1.0}, 0.1)], "sum", tmp_path / "two")
    assert checkpoint_sha256(tmp_path / "one") == checkpoint_sha256(tmp_path / "two")
    loaded = load_checkpoint(tmp_path / "one", "sum")
    with torch.no_grad():
        loaded.state_norm.bias[0] += 1e-3
    save_checkpoint(loaded, [], "sum", tmp_path / "one")
    assert checkpoint_sha256(tmp_path / "one") != checkpoint_sha256(tmp_path / "two")
