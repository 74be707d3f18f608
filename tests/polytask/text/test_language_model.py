"""Text vectors: pooling, the cache, and that a vector does not depend on its batch."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from polytask.errors import DataError
from polytask.text.language_model import LanguageModel, TextEncoder
from polytask.text.language_model_files import language_model_folder
from polytask.text.templates import TextTokenizer
from tests.polytask.pretended_gpu import pretended_gpu
from tests.polytask.tiny_language_models import write_language_model


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


def test_vectors_come_from_a_gpu_where_there_is_one(fresh, small_scenario, tmp_path, monkeypatch):
    texts = ["a comedy", "a quiet drama about the sea"]
    expected, _ = fresh.vectors(texts)
    other = LanguageModel(small_scenario, cache=tmp_path / "other")
    with pretended_gpu() as gpu, monkeypatch.context() as machine:
        machine.setattr(torch.cuda, "is_available", lambda: True)
        used = []
        other.encoder.register_forward_hook(lambda module, inputs, output: used.append(output in gpu.on_gpu))
        vectors, _ = other.vectors(texts)
        assert used == [True]
        assert not any(parameter in gpu.on_gpu for parameter in other.encoder.parameters())
    np.testing.assert_array_equal(vectors, expected)


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


def with_layers(scenario, *layers):
    encoder = scenario.encoder.model_copy(update={"layers": layers})
    return scenario.model_copy(update={"encoder": encoder})


def test_states_of_several_layers_stand_side_by_side(small_scenario, fresh, tmp_path):
    text = ["a comedy", "a rather long text about the sea and the wind"]
    several = LanguageModel(with_layers(small_scenario, 2, 6), cache=tmp_path)
    early = LanguageModel(with_layers(small_scenario, 2), cache=tmp_path)
    assert (several.dim, early.dim) == (2 * fresh.dim, fresh.dim)
    assert len({several.sha256, early.sha256, fresh.sha256}) == 3  # vectors of one are never taken for another's
    vectors = several.vectors(text)[0]
    np.testing.assert_allclose(vectors[:, fresh.dim :], fresh.vectors(text)[0], atol=1e-6)
    np.testing.assert_allclose(vectors[:, : fresh.dim], early.vectors(text)[0], atol=1e-6)
    assert np.abs(vectors[:, fresh.dim :] - vectors[:, : fresh.dim]).max() > 0.1
    sizes = [sum(weight.numel() for weight in model.encoder.parameters()) for model in (early, fresh)]
    assert sizes[0] < sizes[1]  # layers after the last that is pooled are not even loaded
    with pytest.raises(DataError, match=r"encoder.layers: invalid value 7; .* has 6 layers"):
        LanguageModel(with_layers(small_scenario, 7), cache=tmp_path)


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


def test_decoder_reads_the_last_token_and_no_padding(small_scenario, tmp_path):
    folder = write_language_model(tmp_path / "llama", "llama")
    tokenizer = TextTokenizer(folder / "tokenizer.json", 32)
    encoder = TextEncoder(folder, "last")
    short, long = "a comedy", "a quiet drama about the sea and"
    with torch.inference_mode():
        together = encoder(*map(torch.from_numpy, tokenizer([short, long])))
        alone = encoder(*map(torch.from_numpy, tokenizer([short])))
        ids = torch.tensor(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(short).ids)[None]
        expected = encoder.backbone(input_ids=ids).last_hidden_state[:, -1]
    assert ids.shape[1] < tokenizer([short])[0].shape[1] < tokenizer([long])[0].shape[1]
    torch.testing.assert_close(alone, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together[:1], expected, rtol=1e-5, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.1


def test_weights_stored_in_bf16_are_computed_in_float32(small_scenario, tmp_path):
    folder = write_language_model(tmp_path / "qwen2", "qwen2", torch.bfloat16)
    encoder = small_scenario.encoder.model_copy(update={"model": str(folder), "pooling": "last"})
    model = LanguageModel(small_scenario.model_copy(update={"encoder": encoder}), cache=tmp_path / "cache")
    assert {parameter.dtype for parameter in model.encoder.parameters()} == {torch.float32}
    vectors, _ = model.vectors(["a comedy", "", "a drama"])
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()


def without_weights(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def with_wrong_json(folder):
    (folder / "config.json").write_text('{"model_type": "nobody-knows-this"}')


def as_encoder_decoder(folder):
    (folder / "config.json").write_text('{"model_type": "t5", "d_model": 32}')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_weights, r"has config.json, pytorch_model.bin, tokenizer.json; allowed: weights as \*.safetensors"),
        (with_wrong_json, "cannot be loaded: .*nobody-knows-this"),
        (as_encoder_decoder, "is of type t5; allowed: an encoder or a decoder"),
    ],
)
def test_folder_that_cannot_be_used(tmp_path, change, message):
    folder = write_language_model(tmp_path / "bert", "bert")
    change(folder)
    with pytest.raises(DataError, match=message):
        TextEncoder(folder, "mean")


def test_sizes_of_text_and_model_must_fit(small_scenario, tmp_path):
    folder = write_language_model(tmp_path / "bert", "bert")
    encoder = small_scenario.encoder.model_copy(update={"model": str(folder)})
    scenario = small_scenario.model_copy(update={"encoder": encoder})
    text = scenario.text.model_copy(update={"max_tokens": 65})
    with pytest.raises(DataError, match=r"text.max_tokens: invalid value 65; expected at most 64"):
        LanguageModel(scenario.model_copy(update={"text": text}), cache=tmp_path)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"<{number}>" for number in range(100)])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(DataError, match=r"has 3[0-9]{2} tokens, the model 300"):
        LanguageModel(scenario, cache=tmp_path)
