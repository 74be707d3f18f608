"""Text vectors: pooling, the cache, and that a vector does not depend on its batch."""

import numpy as np
import pytest
import torch

from polytask.errors import DataError
from polytask.language_model import LanguageModel, TextEncoder, language_model_folder


@pytest.fixture
def fresh(small_scenario, tmp_path):
    return LanguageModel(small_scenario, cache=tmp_path)


def test_cache_is_reused_by_the_next_model(small_scenario, fresh, tmp_path, monkeypatch):
    texts = ["a comedy", "a drama", "a comedy"]
    progress = []
    first, reused = fresh.vectors(texts, lambda done, total: progress.append((done, total)))
    assert (reused, first.shape, first.dtype) == (0, (3, fresh.dim), np.float32)
    assert progress == [(2, 2)]
    assert (first[0] == first[2]).all()
    second = LanguageModel(small_scenario, cache=tmp_path)
    encoded = []
    original = second._encode
    monkeypatch.setattr(second, "_encode", lambda new: encoded.extend(new) or original(new))
    vectors, reused = second.vectors([*texts, "a western"])
    assert (reused, encoded) == (2, ["a western"])
    assert (vectors[:3] == first).all()


def test_cache_of_another_pooling_is_not_used(small_scenario, fresh, tmp_path):
    [mean], _ = fresh.vectors(["a comedy"])
    encoder = small_scenario.encoder.model_copy(update={"pooling": "last"})
    other = LanguageModel(small_scenario.model_copy(update={"encoder": encoder}), cache=tmp_path)
    [last], reused = other.vectors(["a comedy"])
    assert reused == 0
    assert np.abs(mean - last).max() > 0.01


def test_vectors_do_not_depend_on_batch_mates(fresh, small_scenario, tmp_path):
    texts = ["a comedy", "word " * 30, "a quiet drama about the sea", *[f"film number {n}" for n in range(70)]]
    together, _ = fresh.vectors(texts)
    for position in (0, 1, 2, 72):
        alone, reused = LanguageModel(small_scenario, cache=tmp_path / str(position)).vectors([texts[position]])
        assert reused == 0
        np.testing.assert_allclose(alone[0], together[position], rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_pooling_reads_the_tokens_that_the_mask_keeps(small_scenario, fresh, pooling):
    encoder = TextEncoder(language_model_folder(small_scenario.encoder.model), pooling)
    ids, mask = map(torch.from_numpy, fresh.tokenizer(["a comedy", "a rather long text about the sea and the wind"]))
    with torch.inference_mode():
        hidden = encoder.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors = encoder(ids, mask)
    for row, count in enumerate(mask.sum(dim=1).tolist()):
        assert row == 1 or count < mask.shape[1]  # the first text is padded
        expected = hidden[row, :count].mean(dim=0) if pooling == "mean" else hidden[row, count - 1]
        torch.testing.assert_close(vectors[row], expected, rtol=1e-5, atol=1e-6)


def test_frozen(fresh):
    assert not any(parameter.requires_grad for parameter in fresh.encoder.parameters())
    assert not fresh.encoder.backbone.training


def test_model_that_is_not_there(small_scenario, tmp_path):
    with pytest.raises(DataError, match="'nobody_has_this' is not installed"):
        language_model_folder("package:nobody_has_this/model")
    with pytest.raises(DataError, match=r"encoder.model: 'no/such/model' is no folder and cannot be fetched"):
        language_model_folder("no/such/model")
    encoder = small_scenario.encoder.model_copy(update={"model": str(tmp_path)})
    with pytest.raises(DataError, match=r"has no tokenizer.json"):
        LanguageModel(small_scenario.model_copy(update={"encoder": encoder}))
