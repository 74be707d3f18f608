"""The bundle of a trained model: equal to torch, versioned by its content, and written whole or not at all."""

import shutil

import numpy as np
import onnxruntime as ort
import pytest
import torch

from polytask.contract.contract import MULTITASK, TEXT_ENCODER, load_contract
from polytask.contract.tensors import text_inputs
from polytask.data.catalogue import load_catalogue
from polytask.data.priorities import PRIORITIES_FILE, load_priorities
from polytask.errors import ContractError
from polytask.export import bundle as bundle_module
from polytask.export.bundle import export_bundle
from polytask.export.in_process import execution_providers, session
from polytask.export.parity import SCORE_TOLERANCE, check_parity
from polytask.training.checkpoint import load_checkpoint, save_checkpoint

METRICS = {"item": {"ndcg@10": 0.25}}


@pytest.fixture(scope="module")
def requests(small_dataset):
    return small_dataset.requests(np.flatnonzero(small_dataset.split == "test"))


@pytest.fixture
def same_text_encoder(small_bundle, monkeypatch):
    """The text encoder of the bundle is used as a new one: it is frozen, and exporting it takes longest."""
    original = bundle_module.export_graph
    file = small_bundle / load_contract(small_bundle).models[TEXT_ENCODER].path

    def export_graph(module, inputs, outputs, path, widths=()):
        if inputs == text_inputs():
            path.parent.mkdir(parents=True)
            return shutil.copyfile(file, path)
        return original(module, inputs, outputs, path, widths)

    monkeypatch.setattr(bundle_module, "export_graph", export_graph)


@pytest.fixture
def changed_checkpoint(small_checkpoint, language_model, tmp_path):
    """The trained model after a small change of one weight."""
    model = load_checkpoint(small_checkpoint, language_model.sha256)
    with torch.no_grad():
        model.heads["scene"].linear.bias[0] += 0.01
    save_checkpoint(model, [], language_model.sha256, tmp_path / "changed")
    return tmp_path / "changed"


def test_contract_of_the_bundle(small_bundle, small_scenario, small_dataset, language_model):
    contract = load_contract(small_bundle)  # compares every file's checksum
    assert contract.scenario == small_scenario
    assert contract.text_dim == language_model.dim
    assert contract.encoder_sha256 == language_model.sha256
    assert contract.metrics == METRICS
    assert 1 <= contract.model_version < 2**31
    for name, catalogue in small_dataset.catalogues.items():
        spec = contract.catalogues[name]
        assert spec.rows == len(catalogue)
        assert load_catalogue(small_scenario, name, small_bundle / spec.path).ids == catalogue.ids
    assert contract.priorities.path == "priorities.parquet"
    priorities = load_priorities(small_bundle / contract.priorities.path, small_dataset.catalogues["users"])
    users = small_dataset.catalogues["users"].ids
    shares = priorities.of(users, ["item", "user", "scene"])
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    names = {path.name for path in small_bundle.iterdir()}
    assert names == {"contract.json", "tokenizer.json", "catalogues", "priorities.parquet", "repository"}
    models = {TEXT_ENCODER, MULTITASK, "recommender"}
    assert {path.name for path in (small_bundle / "repository").iterdir()} == {*models, "SHA256SUMS"}


def test_graphs_have_the_tensors_of_the_contract(small_bundle):
    contract = load_contract(small_bundle)
    specs = {
        TEXT_ENCODER: (contract.text_inputs, contract.text_outputs),
        MULTITASK: (contract.multitask_inputs, contract.outputs),
    }
    types = {"INT64": "tensor(int64)", "FP32": "tensor(float)", "BOOL": "tensor(bool)"}
    for model, (inputs, outputs) in specs.items():
        graph = session(small_bundle / contract.models[model].path, 1)
        for given, specs_of in ((graph.get_inputs(), inputs), (graph.get_outputs(), outputs)):
            assert [(node.name, node.type) for node in given] == [(s.name, types[s.dtype]) for s in specs_of]
            for node, spec in zip(given, specs_of, strict=True):
                assert isinstance(node.shape[0], str)  # an open batch
                sizes = [size if isinstance(size, int) else -1 for size in node.shape[1:]]
                assert sizes == list(spec.shape)


def test_parity_of_every_output(small_bundle, small_checkpoint, small_dataset, language_model, requests):
    contract = load_contract(small_bundle)
    model = load_checkpoint(small_checkpoint, language_model.sha256)
    encoder = small_dataset.request_encoder()
    for batch in (requests, requests[:1]):
        parity = check_parity(small_bundle, contract, model, language_model, encoder, batch)
        assert list(parity) == [spec.name for spec in contract.outputs]
        assert parity["item_ids"] == parity["user_ids"] == 0
        assert max(parity.values()) <= SCORE_TOLERANCE


def test_an_answer_is_the_same_in_every_bit_alone_and_in_any_batch(small_bundle):
    contract = load_contract(small_bundle)
    graph = session(small_bundle / contract.models[MULTITASK].path, 1)
    random, rows = np.random.default_rng(4), 24
    feed = {"allowed": random.random((rows, contract.catalogues["items"].rows + 1)) < 0.5}
    for spec in contract.multitask_inputs:
        if spec.dtype == "FP32":
            feed[spec.name] = random.normal(size=(rows, *spec.shape)).astype(np.float32)
        elif spec.dtype == "INT64":
            feed[spec.name] = random.integers(0, 31, (rows, *spec.shape))
    names = [spec.name for spec in contract.outputs]
    together = graph.run(names, feed)
    for size in (1, 2, 5):
        for start in range(0, rows - size, size):
            part = graph.run(names, {name: values[start : start + size] for name, values in feed.items()})
            for name, alone, among in zip(names, part, together, strict=True):
                assert np.array_equal(alone, among[start : start + size]), (name, size, start)


def test_same_model_same_version(small_bundle, small_checkpoint, small_dataset, requests, tmp_path):
    catalogues = small_dataset.catalogues
    priorities = load_priorities(small_bundle / PRIORITIES_FILE, catalogues["users"])
    exported = export_bundle(
        *(small_checkpoint, small_dataset.scenario, catalogues, requests, METRICS, tmp_path / "again"),
        priorities=priorities,
    )
    assert exported.contract == load_contract(tmp_path / "again") == load_contract(small_bundle)
    assert list(exported.parity) == [spec.name for spec in exported.contract.outputs]


def test_changed_weight_changed_version(
    small_bundle, changed_checkpoint, same_text_encoder, small_dataset, requests, tmp_path
):
    exported = export_bundle(
        changed_checkpoint, small_dataset.scenario, small_dataset.catalogues, requests, METRICS, tmp_path / "other"
    )
    before, after = load_contract(small_bundle), exported.contract
    assert after.model_version != before.model_version
    assert after.checksum != before.checksum
    assert after.models[MULTITASK].sha256 != before.models[MULTITASK].sha256


def test_difference_to_torch_stops_the_export(
    small_bundle, changed_checkpoint, small_dataset, requests, tmp_path, monkeypatch
):
    contract = load_contract(small_bundle)

    def export_of_other_weights(module, inputs, outputs, path, widths=()):
        model = TEXT_ENCODER if inputs == text_inputs() else MULTITASK
        path.parent.mkdir(parents=True, exist_ok=True)
        return shutil.copyfile(small_bundle / contract.models[model].path, path)

    monkeypatch.setattr(bundle_module, "export_graph", export_of_other_weights)
    target = tmp_path / "exports" / "bundle"
    with pytest.raises(ContractError, match=r"scene_scores: ONNX returns 0\.\d+, torch returns 0\.\d+ \(request \d+\)"):
        export_bundle(changed_checkpoint, small_dataset.scenario, small_dataset.catalogues, requests, METRICS, target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("available", "chosen"),
    [
        (["TensorrtExecutionProvider", "CPUExecutionProvider"], ["CPUExecutionProvider"]),
        (
            ["TensorrtExecutionProvider", "CPUExecutionProvider", "CUDAExecutionProvider"],
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
        ),
    ],
)
def test_cuda_is_used_where_onnxruntime_has_it(monkeypatch, available, chosen):
    monkeypatch.setattr(ort, "get_available_providers", lambda: available)
    assert execution_providers() == chosen
