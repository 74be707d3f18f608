"""Which text encoder is written: by the scenario's setting, by the gate's result, and by the earlier version."""

import shutil

import numpy as np
import onnx
import pytest
import torch

from benchmarks.int8_vs_fp32 import measure
from benchmarks.workbench import Workbench
from polytask.contract.contract import TEXT_ENCODER, GraphPrecision, load_contract
from polytask.contract.tensors import text_inputs, text_outputs
from polytask.data.dataset import Dataset
from polytask.errors import ContractError
from polytask.export import text_encoder as module
from polytask.export.bundle import export_bundle
from polytask.export.in_process import session
from polytask.export.parity import check_parity
from polytask.export.text_encoder import KnownEncoder, ServedTextEncoder, TextEncoderExport, onnx_encoder
from polytask.scenario import Scenario
from polytask.text.language_model import LanguageModel
from polytask.text.templates import item_text
from polytask.training.checkpoint import load_checkpoint, save_checkpoint
from polytask.training.loop import train
from tests.polytask.tiny_language_models import write_language_model
from tests.small import training_frame


def with_precision(scenario, precision):
    return Scenario.model_validate({**scenario.model_dump(), "export": {"precision": precision}})


@pytest.fixture(scope="module")
def trained(small_scenario, small_dataset, tables, tmp_path_factory):
    """The small scenario over a tiny language model: scenario, language model, data set, model."""
    folder = write_language_model(tmp_path_factory.mktemp("language") / "bert", "bert")
    scenario = Scenario.model_validate({**small_scenario.model_dump(), "encoder": {"model": str(folder)}})
    language_model = LanguageModel(scenario, cache=tmp_path_factory.mktemp("cache"))
    dataset = Dataset(
        scenario,
        training_frame(scenario, tables),
        small_dataset.catalogues,
        lambda texts: language_model.vectors(texts)[0],
    )
    items = dataset.catalogues["items"]
    texts = [item_text(scenario.text, items.record(row)) for row in range(1, len(items) + 1)]
    return scenario, language_model, dataset, train(dataset, torch.from_numpy(language_model.vectors(texts)[0]))[0]


@pytest.fixture(scope="module", autouse=True)
def exported_once(trained, tmp_path_factory):
    """Exporting the language model takes seconds and always gives the same graph: one export serves all tests."""
    plain = tmp_path_factory.mktemp("plain") / "text.onnx"
    served = ServedTextEncoder(trained[1].encoder)
    module.export_graph(served, text_inputs(), text_outputs(trained[1].dim), plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "export_graph", lambda encoder, inputs, outputs, path: shutil.copyfile(plain, path))
        yield


@pytest.fixture(scope="module")
def int8(trained, tmp_path_factory):
    """The text encoder in int8 as the gate has passed it."""
    path = tmp_path_factory.mktemp("int8") / "text.onnx"
    scenario, *rest = trained
    return KnownEncoder(path, TextEncoderExport(scenario, rest[0], rest[2], rest[1]).write(path))


def writer(trained, precision="auto", *, gate=True, gpu=False):
    scenario, language_model, dataset, model = trained
    return TextEncoderExport(with_precision(scenario, precision), language_model, model, dataset if gate else None, gpu)


def types_in(path):
    """The types of the weights."""
    graph = onnx.load(path).graph
    matrices = [tensor for tensor in graph.initializer if len(tensor.dims) == 2]
    return {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in matrices} - {"INT64"}


def test_int8_is_the_default_where_the_gate_passes(trained, int8):
    precision = int8.precision
    assert precision.precision == "int8"
    assert precision.reason == "passes the gate"
    assert list(precision.tasks) == ["item", "user", "scene"]
    assert all(figures.agreement >= 0.95 for figures in precision.tasks.values())
    assert any(figures.agreement < 1 or figures.loss != 0 for figures in precision.tasks.values())
    assert "INT8" in types_in(int8.graph)
    assert {file.name for file in int8.graph.parent.iterdir()} == {"text.onnx"}


@pytest.mark.parametrize(
    ("precision", "gate", "reason"),
    [("fp32", True, "set in the scenario"), ("auto", False, "int8 was not tried: no validation requests")],
)
def test_float32_without_a_gate(trained, precision, gate, reason, tmp_path):
    written = writer(trained, precision, gate=gate).write(tmp_path / "text.onnx")
    assert written == GraphPrecision(precision="fp32", reason=reason)
    assert types_in(tmp_path / "text.onnx") == {"FLOAT"}
    texts = ["a comedy on a weekday evening", "a quiet drama"]
    got = onnx_encoder(tmp_path / "text.onnx", trained[1].tokenizer, 1)(texts)
    np.testing.assert_allclose(got, trained[1].vectors(texts)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16"])
def test_a_token_id_outside_of_the_vocabulary_is_clipped(trained, precision, tmp_path):
    path = tmp_path / "text.onnx"
    assert writer(trained, precision, gpu=precision == "fp16").write(path).precision == precision
    graph, last = session(path, 1), trained[1].encoder.config.vocab_size - 1

    def vectors(ids):
        return graph.run(["text_vector"], {"input_ids": np.array(ids), "attention_mask": np.ones((3, 2), np.int64)})[0]

    wild = [[5, last + 1], [-1, 7], [2**62, -(2**62)]]
    np.testing.assert_array_equal(vectors(wild), vectors([[5, last], [0, 7], [last, 0]]))


@pytest.mark.parametrize("requested", ["auto", "int8"])
def test_float32_replaces_what_fails_the_gate(trained, requested, tmp_path, monkeypatch):
    monkeypatch.setattr("polytask.export.quantise_int8.PAIR", 2)  # steps far too large
    written = writer(trained, requested).write(tmp_path / "text.onnx")
    assert written.precision == "fp32"
    assert written.reason.startswith("int8 fails the gate: ")
    assert "agreement 0." in written.reason
    assert written.tasks == {}
    assert types_in(tmp_path / "text.onnx") == {"FLOAT"}
    assert {file.name for file in tmp_path.iterdir()} == {"text.onnx"}


def test_half_precision_for_a_gpu(trained, tmp_path):
    written = writer(trained, gpu=True).write(tmp_path / "text.onnx")
    assert written.precision == "fp16"
    assert types_in(tmp_path / "text.onnx") == {"FLOAT16"}
    texts = ["a comedy on a weekday evening", "a quiet drama"]
    want = trained[1].vectors(texts)[0]
    got = onnx_encoder(tmp_path / "text.onnx", trained[1].tokenizer, 1)(texts)
    assert got.dtype == np.float32
    assert 0 < np.abs(got - want).max() < 0.01 * np.abs(want).max()


def test_known_encoder_is_taken_over_and_judged_again(trained, int8, tmp_path, monkeypatch):
    taken = writer(trained).write(tmp_path / "text.onnx", int8)
    assert taken == int8.precision
    assert (tmp_path / "text.onnx").read_bytes() == int8.graph.read_bytes()
    # Without requests to judge it on, it stays what it was.
    assert writer(trained, gate=False).write(tmp_path / "text.onnx", int8) == int8.precision
    monkeypatch.setattr(module, "failures", lambda figures: ["item: something is worse"])
    replaced = writer(trained).write(tmp_path / "text.onnx", int8)
    assert replaced == GraphPrecision(precision="fp32", reason="int8 fails the gate: item: something is worse")
    assert types_in(tmp_path / "text.onnx") == {"FLOAT"}


@pytest.fixture(scope="module")
def bundle(trained, int8, tmp_path_factory):
    """A bundle with the int8 text encoder, and its checkpoint."""
    scenario, language_model, dataset, model = trained
    folder = tmp_path_factory.mktemp("bundle")
    save_checkpoint(model, [], language_model.sha256, folder / "model")
    requests = dataset.requests(np.flatnonzero(dataset.split == "test"))
    target = folder / "bundle"
    export_bundle(
        folder / "model", scenario, dataset.catalogues, requests, {}, target, text_encoder=int8, dataset=dataset
    )
    return target


def test_bundle_says_what_precision_it_is_in(trained, int8, bundle):
    language_model, dataset = trained[1:3]
    contract = load_contract(bundle)
    assert contract.precisions == {TEXT_ENCODER: int8.precision}
    assert (contract.precision_of(TEXT_ENCODER), contract.precision_of("multitask")) == ("int8", "fp32")
    # All that follows the text vectors is still compared with torch to the last digit but one.
    loaded = load_checkpoint(bundle.parent / "model", language_model.sha256)
    requests = dataset.requests(np.flatnonzero(dataset.split == "test"))
    parity = check_parity(bundle, contract, loaded, language_model, dataset.request_encoder(), requests)
    assert list(parity) == [spec.name for spec in contract.outputs]


def test_benchmark_gives_speed_per_batch_and_the_figures_of_the_gate(int8, bundle, small_store, tmp_path):
    with Workbench(bundle, small_store, tmp_path, scale=0.1) as bench:
        speed, agreement = measure(bench, rounds=3)
    assert {name: len(values) for name, values in speed.parts.items()} == {"batch 1": 3, "batch 8": 3, "batch 32": 3}
    assert all(value > 0 for values in speed.parts.values() for value in values)
    assert agreement.parts == {name: [figures.agreement] for name, figures in int8.precision.tasks.items()}
    other = shutil.copytree(bundle, tmp_path / "float32")
    reason = GraphPrecision(precision="fp32", reason="int8 fails the gate")
    load_contract(bundle).model_copy(update={"precisions": {TEXT_ENCODER: reason}}).save(other)
    message = r"its text encoder is not in int8 \(int8 fails the gate\)"
    with Workbench(other, small_store, tmp_path) as bench, pytest.raises(ContractError, match=message):
        measure(bench, rounds=1)
