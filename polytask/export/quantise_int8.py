"""Int8 for the linear layers of a language model's ONNX graph: every row of activations has a scale of its own.

Ordinary dynamic quantisation takes one scale for a whole tensor, so that a prediction depends on the other texts of
its batch. Here row i of a layer's input X and column k of its weights W have scales of their own:

    m_i = max_j |x_ij|,  a_ij = round(127 x_ij / m_i) + 128,   w_jk = round(W_jk / c_k)
    Y_ik = m_i / 127 * c_k * sum_j (a_ij - 128) w_jk

It is written with QuantizeLinear and DequantizeLinear of standard ONNX around a MatMul, which ONNX Runtime turns into
one product of unsigned with signed bytes. On x86 without VNNI such a product adds two neighbours, a_1 w_1 + a_2 w_2, in
16 bits that saturate. So c_k is such that |w_1| + |w_2| stays within 128 for neighbours: 255 * 128 fits into 16 bits,
and every processor computes the same integers.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from polytask.errors import ExportError

FloatArray = NDArray[np.float32]

# How far below 0 an activation can be, for those that have a bound: they use all 255 steps above it, and the bound's
# part of the product is a constant that goes into the bias. GELU has its minimum, -0.16997, at -0.7518.
LOWER_BOUND = {"Gelu": 0.17, "Relu": 0.0}
# SmoothQuant (Xiao et al., 2023): s_j = max|x_j|^a / max_k|W_jk|^(1 - a); X / s and s W have the same product, and are
# easier to quantise.
SMOOTHING = 0.65
# The largest sum of the magnitudes of two neighbours, before rounding adds up to a half to each.
PAIR = 127
TINY = 1e-12
# Share of the mean variance that is added to every variance, and how many rows are compensated for at a time.
DAMPING = 0.01
BLOCK = 64


@dataclass(frozen=True)
class Layers:
    """The linear layers that read one tensor: the nodes Y = X W, with X called `source`."""

    source: str
    nodes: tuple[NodeProto, ...]


@dataclass(frozen=True)
class Activations:
    """Over the tokens of typical texts: the largest magnitude and the mean of each channel of a tensor, both (K,), and
    their covariance (K, K), where there are not too many channels for that.
    """

    largest: FloatArray
    mean: FloatArray
    covariance: FloatArray | None = None


def linear_layers(model: onnx.ModelProto) -> list[Layers]:
    """The MatMul nodes whose right side is a constant matrix, by what they read, in the order of the graph."""
    matrices = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in matrices:
            readers[node.input[0]].append(node)
    return [Layers(source, tuple(nodes)) for source, nodes in readers.items()]


def quantised(model: onnx.ModelProto, activations: Mapping[str, Activations]) -> onnx.ModelProto:
    """A copy of a float32 graph with int8 linear layers and token embeddings.

    `activations` has those of the source of each of `linear_layers`. Raises ExportError where the graph has none.
    """
    layers = linear_layers(model)
    if not layers:
        raise ExportError("int8: the graph has no MatMul with a constant matrix")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    rewriting = _Rewriting(copy)
    for group in layers:
        rewriting.quantise(group, activations[group.source])
    rewriting.quantise_embeddings()
    rewriting.finish()
    return copy


def smoothing(largest: FloatArray, weights: Sequence[FloatArray]) -> FloatArray:
    """The factors s (K,) by which the rows of the weights (K, N) grow and the channels of what they read shrink."""
    rows = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    factors = np.maximum(largest, 1e-5) ** SMOOTHING / np.maximum(rows, 1e-5) ** (1 - SMOOTHING)
    return np.asarray(factors, dtype=np.float32)


def by_column(weight: FloatArray, covariance: FloatArray | None = None) -> tuple[NDArray[np.int8], FloatArray]:
    """A matrix W (K, N) -> its steps w (K, N) and the size of a step c (N,); see the top of this module.

    With the covariance (K, K) of what it is multiplied with, each row makes up for the rounding of the rows before it
    (GPTQ; Frantar et al., 2023); the mean is left to the bias.
    """
    magnitude = np.abs(weight)
    if len(magnitude) % 2:
        magnitude = np.concatenate([magnitude, np.zeros_like(magnitude[:1])])
    scales = np.maximum((magnitude[::2] + magnitude[1::2]).max(axis=0), TINY) / PAIR
    if covariance is None:
        return np.rint(weight / scales).astype(np.int8), scales.astype(np.float32)
    return _compensated(weight / scales, covariance).astype(np.int8), scales.astype(np.float32)


def _compensated(exact: FloatArray, covariance: FloatArray) -> NDArray[np.float64]:
    """Steps (K, N) for exact ones, so that X w stays near X `exact` where X has this covariance."""
    left = exact.astype(np.float64)
    damped = covariance.astype(np.float64)
    damped[np.diag_indices(len(damped))] += DAMPING * np.diag(damped).mean() + TINY
    # Row j holds, for each later row, by how much it makes up for an error of row j.
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    steps = np.zeros_like(left)
    for start in range(0, len(left), BLOCK):
        end = min(start + BLOCK, len(left))
        errors = np.zeros((end - start, left.shape[1]))
        for row in range(start, end):
            # The second of a pair may use what the first has left of the sum that cannot saturate.
            room = PAIR + 1 - np.abs(steps[row - 1]) if row % 2 else np.full(left.shape[1], PAIR)
            steps[row] = np.clip(np.rint(left[row]), -np.minimum(room, PAIR), np.minimum(room, PAIR))
            errors[row - start] = (left[row] - steps[row]) / factor[row, row]
            left[row + 1 : end] -= np.outer(factor[row, row + 1 : end], errors[row - start])
        left[end:] -= factor[start:end, end:].T @ errors
    return steps


class _Rewriting:
    """A graph while nodes of it are replaced."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self.producer = {name: node for node in model.graph.node for name in node.output}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in model.graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.before: dict[str, list[NodeProto]] = defaultdict(list)
        self.instead: dict[str, list[NodeProto]] = {}
        self.constant("int8/tiny", np.float32(TINY))
        self.constant("int8/last_axis", np.array([-1], dtype=np.int64))
        for kind, scale, zero in (("signed", 1 / 127, 128), ("unsigned", 1 / 255, 0)):
            self.constant(f"int8/{kind}/scale", np.float32(scale))
            self.constant(f"int8/{kind}/zero", np.uint8(zero))

    def constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        self.tensors[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def array(self, name: str) -> FloatArray:
        return numpy_helper.to_array(self.tensors[name]).astype(np.float32)

    def quantise(self, group: Layers, activations: Activations) -> None:
        source, prefix = group.source, f"int8/{group.source}"
        producer = self.producer.get(source)
        bound = LOWER_BOUND.get(producer.op_type) if producer is not None else None
        weights = [self.array(node.input[1]) for node in group.nodes]
        nodes: list[NodeProto] = []
        if bound is None:
            kind = "signed"
            factors = smoothing(activations.largest, weights)
            even = _add(nodes, "Mul", [source, self.constant(f"{prefix}/factors", 1 / factors)], f"{prefix}/even")
            magnitude = _add(nodes, "Abs", [even], f"{prefix}/magnitude")
        else:
            kind = "unsigned"
            factors = np.ones_like(activations.largest)
            shift = self.constant(f"{prefix}/bound", np.float32(bound))
            even = magnitude = _add(nodes, "Add", [source, shift], f"{prefix}/even") if bound else source
        covariance = activations.covariance
        if covariance is not None:
            covariance = covariance / np.outer(factors, factors)
        largest = _add(nodes, "ReduceMax", [magnitude, "int8/last_axis"], f"{prefix}/largest", keepdims=1)
        row = _add(nodes, "Max", [largest, "int8/tiny"], f"{prefix}/row")
        unit = _add(nodes, "Div", [even, row], f"{prefix}/unit")
        scale = [f"int8/{kind}/scale", f"int8/{kind}/zero"]
        steps = _add(nodes, "QuantizeLinear", [unit, *scale], f"{prefix}/steps")
        self.before[group.nodes[0].name] += nodes
        for node, weight in zip(group.nodes, weights, strict=True):
            stored, scales = by_column(factors[:, None] * weight, covariance)
            used = stored * scales / factors[:, None]
            # What the rounded weights make of the mean activation is a constant, and so is the bound's part.
            constant = activations.mean @ (weight - used) - np.float32(bound or 0.0) * used.sum(axis=0)
            self._replace(node, stored, scales, constant, [steps, *scale], row)

    def _replace(
        self,
        node: NodeProto,
        stored: NDArray[np.int8],
        scales: FloatArray,
        constant: FloatArray,
        steps: list[str],
        row: str,
    ) -> None:
        """Put the integer product in the place of a MatMul, and `constant` (N,) into its bias."""
        prefix, result = f"int8/{node.name}", node.output[0]
        weight = [
            self.constant(f"{prefix}/weight", stored),
            self.constant(f"{prefix}/scales", scales),
            self.constant(f"{prefix}/zeros", np.zeros(len(scales), dtype=np.int8)),
        ]
        bias = self._bias(result)
        if bias is not None:
            node_of_bias, name = bias
            constant, result = constant + self.array(name), node_of_bias.output[0]
            self.instead[node_of_bias.name] = []
        nodes: list[NodeProto] = []
        # A DequantizeLinear for each layer: ONNX Runtime only turns into integers what nothing else reads.
        x = _add(nodes, "DequantizeLinear", steps, f"{prefix}/x")
        w = _add(nodes, "DequantizeLinear", weight, f"{prefix}/w", axis=1)
        product = _add(nodes, "MatMul", [x, w], f"{prefix}/product")
        scaled = _add(nodes, "Mul", [product, row], f"{prefix}/scaled")
        nodes.append(
            helper.make_node(
                "Add", [scaled, self.constant(f"{prefix}/bias", constant)], [result], name=f"{prefix}/biased"
            )
        )
        self.instead[node.name] = nodes

    def _bias(self, product: str) -> tuple[NodeProto, str] | None:
        """The node that adds a constant vector to a product, and that vector; None where there is no such node."""
        if len(self.readers[product]) != 1 or self.readers[product][0].op_type != "Add":
            return None
        [node] = self.readers[product]
        [other] = [name for name in node.input if name != product] or [product]
        return (node, other) if other in self.tensors and len(self.tensors[other].dims) == 1 else None

    def quantise_embeddings(self) -> None:
        """Tables that are looked up by a graph input: int8, with a scale per row. They are most of a small model."""
        inputs = {value.name for value in self.graph.input}
        for node in self.graph.node:
            if node.op_type != "Gather" or node.input[0] not in self.tensors or node.input[1] not in inputs:
                continue
            table, prefix = self.array(node.input[0]), f"int8/{node.name}"
            scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), TINY) / 127
            nodes: list[NodeProto] = []
            stored = self.constant(f"{prefix}/table", np.rint(table / scales).astype(np.int8))
            steps = _add(nodes, "Gather", [stored, node.input[1]], f"{prefix}/steps")
            floats = _add(nodes, "Cast", [steps], f"{prefix}/floats", to=TensorProto.FLOAT)
            rows = self.constant(f"{prefix}/scales", scales.astype(np.float32))
            scale = _add(nodes, "Gather", [rows, node.input[1]], f"{prefix}/scale")
            nodes.append(helper.make_node("Mul", [floats, scale], [node.output[0]], name=f"{prefix}/embedding"))
            self.instead[node.name] = nodes

    def finish(self) -> None:
        nodes = [
            new
            for node in self.graph.node
            for new in (*self.before.get(node.name, ()), *self.instead.get(node.name, (node,)))
        ]
        read = {name for node in nodes for name in node.input}
        constants = [tensor for name, tensor in self.tensors.items() if name in read]
        graph = helper.make_graph(nodes, self.graph.name, self.graph.input, self.graph.output, constants)
        self.graph.CopyFrom(graph)


def _add(nodes: list[NodeProto], op: str, inputs: list[str], name: str, **attributes: int) -> str:
    """Append a node whose only output has its name; returns the name."""
    node = helper.make_node(op, inputs, [name], name=name)
    node.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    nodes.append(node)
    return name
