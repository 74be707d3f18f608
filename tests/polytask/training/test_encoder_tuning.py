"""The language model learns with the tasks: what moves, what does not, and what is left when training ends."""

import numpy as np
import pytest
import torch

from polytask.data.dataset import Dataset
from polytask.errors import ScenarioError
from polytask.jobs.inputs import item_texts
from polytask.scenario.schema import Encoder, Lora
from polytask.text.language_model import LanguageModel, TextEncoder
from polytask.training.encoder_tuning import EncoderTuning
from polytask.training.loop import build_model, fit, train
from polytask.training.resume import TrainingState
from tests.polytask.pretended_gpu import GPU, pretended_gpu
from tests.polytask.tiny_language_models import write_language_model
from tests.small import training_frame


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_language_model(tmp_path_factory.mktemp("bert"), "bert")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def encoder_settings(folder, training, **settings):
    lora = Lora(rank=4, dropout=0.0, **settings)
    return Encoder(model=str(folder), training=training, learning_rate=3e-3, lora=lora)


@pytest.fixture(params=["lora", "full"])
def parts(request, small_scenario, tables, small_dataset, folder, cache):
    """Data set, item vectors, language model and tuning over a tiny BERT."""
    encoder = encoder_settings(folder, request.param)
    training = small_scenario.training.model_copy(update={"threads": 1, "batch_size": 16})
    scenario = small_scenario.model_copy(update={"encoder": encoder, "training": training})
    model = LanguageModel(scenario, cache=cache)
    frame = training_frame(scenario, tables)
    dataset = Dataset(scenario, frame, small_dataset.catalogues, lambda texts: model.vectors(texts)[0])
    vectors = torch.from_numpy(model.vectors(item_texts(dataset))[0])
    return dataset, vectors, model, EncoderTuning(model, scenario, dataset.distinct_texts, item_texts(dataset))


def copy_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def test_before_the_first_step_the_vectors_are_those_of_the_model(parts):
    dataset, _, _, tuning = parts
    rows = np.array([3, 0, 3, len(dataset.distinct_texts) - 1])
    tuning.encoder.eval()
    vectors = tuning.vectors(rows)
    assert vectors.requires_grad
    np.testing.assert_allclose(vectors.detach().numpy(), dataset.text_vectors[rows], rtol=0, atol=1e-5)


def test_language_model_alone_learns_the_tasks(parts):
    dataset, vectors, language_model, tuning = parts
    torch.manual_seed(0)
    model = build_model(dataset, vectors)
    model_before, language_before = copy_of(model), copy_of(language_model.encoder)
    history = fit(model, dataset, [], tuning=tuning)
    assert history[-1].losses["scene"] < history[0].losses["scene"] - 0.01
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, model_before[name])}
    assert changed == {name for name in model_before if name.endswith("text_vectors")}
    assert all(torch.equal(tensor, language_before[n]) for n, tensor in language_model.encoder.state_dict().items())


def test_item_tables_hold_the_vectors_of_the_tuned_model(parts, tmp_path):
    dataset, vectors, language_model, tuning = parts
    model, _ = train(dataset, vectors, tuning=tuning)
    tuning.save(tmp_path / "tuned")
    tuned = LanguageModel(dataset.scenario, cache=tmp_path, tuned=tmp_path / "tuned")
    assert tuned.sha256 != language_model.sha256
    after = torch.from_numpy(tuned.vectors(item_texts(dataset))[0])
    assert (after - vectors).abs().max() > 0.05
    torch.testing.assert_close(
        model.item_table.text_vectors[1:], model.item_table.standardise(after), rtol=1e-4, atol=1e-4
    )
    assert not any(weight.requires_grad for weight in tuning.encoder.parameters())


def test_resumed_training_reaches_the_same_language_model(parts, tmp_path):
    dataset, vectors, language_model, tuning = parts
    whole, _ = train(dataset, vectors, tuning=tuning)

    def stop(epoch):
        raise InterruptedError

    def fresh():
        return EncoderTuning(language_model, dataset.scenario, dataset.distinct_texts, item_texts(dataset))

    resume = TrainingState(tmp_path / "state.safetensors", "key", lambda line: None)
    with pytest.raises(InterruptedError):
        train(dataset, vectors, stop, resume, fresh())
    again = fresh()
    resumed, history = train(dataset, vectors, None, resume, again)
    assert [epoch.number for epoch in history] == [1, 2]
    for one, other in ((whole, resumed), (tuning.encoder, again.encoder)):
        assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in one.state_dict().items())


def test_adapters_leave_the_base_weights_alone_until_they_are_merged(small_scenario, folder, cache):
    scenario = small_scenario.model_copy(
        update={"encoder": encoder_settings(folder, "lora", targets=("query", "value"))}
    )
    texts = ["a comedy", "a drama"]
    tuning = EncoderTuning(LanguageModel(scenario, cache=cache), scenario, texts, [])
    weights = tuning.weights()
    assert len(weights) == 2 * 2 * 2  # layers, targets, A and B
    assert all("lora_" in name for name in weights)
    optimizer = torch.optim.SGD(weights.values(), lr=0.1)
    tuning.start_epoch(torch.nn.Module())
    for _ in range(3):
        optimizer.zero_grad()
        tuning.vectors(np.arange(2)).square().sum().backward()
        optimizer.step()
    base = TextEncoder(folder, "mean").state_dict()
    inside = {
        n.replace("base_model.model.", "").replace(".base_layer", ""): t for n, t in copy_of(tuning.encoder).items()
    }
    assert all(torch.equal(inside[name], tensor) for name, tensor in base.items())
    tuning.encoder.eval()
    unmerged = tuning.vectors(np.arange(2)).detach()
    tuning.finish(torch.nn.Module())
    merged = tuning.encoder.state_dict()
    torch.testing.assert_close(tuning.vectors(np.arange(2)), unmerged, rtol=1e-4, atol=1e-5)
    changed = {name.split(".")[-2] for name, tensor in base.items() if not torch.equal(merged[name], tensor)}
    assert merged.keys() == base.keys()
    assert changed == {"query", "value"}


def test_language_model_and_item_tables_lie_on_one_device(parts):
    dataset, vectors, _, tuning = parts
    model = build_model(dataset, vectors)
    with pretended_gpu() as gpu:
        model.to(GPU)
        tuning.encoder.to(GPU)
        tuning.start_epoch(model)
        assert model.item_table.text_vectors in gpu.on_gpu
        assert tuning.vectors(np.arange(3)) in gpu.on_gpu
        assert model.item_table() in gpu.on_gpu


def test_weights_that_the_vector_does_not_depend_on_are_not_trained(parts):
    *_, tuning = parts
    assert any("pooler" in name for name, _ in tuning.encoder.named_parameters())
    assert tuning.weights()
    assert not any("pooler" in name for name in tuning.weights())


def test_unknown_target_is_named(small_scenario, folder, cache):
    scenario = small_scenario.model_copy(update={"encoder": encoder_settings(folder, "lora", targets=("q_proj",))})
    with pytest.raises(ScenarioError, match=r"encoder.lora.targets: invalid value q_proj; expected dense, key, query"):
        EncoderTuning(LanguageModel(scenario, cache=cache), scenario, ["a"], [])
