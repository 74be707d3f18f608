"""Replace Add and LayerNormalization by SkipLayerNormalization: faster in ONNX Runtime 1.28 on a CPU.

The CPU kernel of LayerNormalization takes six times as long in ONNX Runtime 1.27 to 1.29 as before and after; that of
SkipLayerNormalization, an operator of ONNX Runtime's own, does not. From 1.30 on it is the other way round: when
`polytask.contract.triton_image` changes, measure both forms again (ADR 0041). Graphs for a GPU keep the standard
operators.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import onnx
from onnx import NodeProto, helper

DOMAIN = "com.microsoft"
OPERATOR = "SkipLayerNormalization"
Shapes = Mapping[str, tuple[int | str, ...]]


def with_skip_layer_norms(model: onnx.ModelProto, shapes: Shapes | None = None) -> onnx.ModelProto:
    """A copy whose LayerNormalizations take in the Add before them, and the bias that was added before that.

    `shapes` are those of the tensors by name, by default what the model itself states. A LayerNormalization stays as it
    is where the two terms of its Add are not known to be of one shape, or one of them the same for the whole batch.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    joined = _Adds(graph, shapes_of(model) if shapes is None else shapes)
    norms = {node.output[0]: made for node in graph.node if (made := joined.skip_layer_norm(node)) is not None}
    nodes = [norms.get(node.output[0], node) for node in graph.node if node.output[0] not in joined.gone]
    changed = helper.make_graph(nodes, graph.name, graph.input, graph.output, graph.initializer)
    changed.value_info.extend(value for value in graph.value_info if value.name not in joined.gone - joined.kept)
    graph.CopyFrom(changed)
    if norms and all(opset.domain != DOMAIN for opset in copy.opset_import):
        copy.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    return copy


def shapes_of(model: onnx.ModelProto) -> Shapes:
    """Name -> shape of every tensor whose shape a model states; an open size is a symbol."""
    stated = [*model.graph.value_info, *model.graph.input, *model.graph.output]
    found: dict[str, tuple[int | str, ...]] = {
        value.name: tuple(dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in stated
    }
    return {**found, **{tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}}


class _Adds:
    """The Adds of a graph. `gone` are the outputs of those that a SkipLayerNormalization replaces, `kept` the outputs
    that it makes in their place.
    """

    def __init__(self, graph: onnx.GraphProto, shapes: Shapes) -> None:
        self._adds = {node.output[0]: node for node in graph.node if node.op_type == "Add"}
        self._readers = Counter(name for node in graph.node for name in node.input)
        self._readers.update(value.name for value in graph.output)
        self._shapes = shapes
        self.gone: set[str] = set()
        self.kept: set[str] = set()

    def skip_layer_norm(self, norm: NodeProto) -> NodeProto | None:
        """The node in place of a LayerNormalization; None where it cannot be replaced."""
        if norm.op_type != "LayerNormalization" or norm.input[0] not in self._adds or len(norm.input) < 3:
            return None
        total = norm.input[0]
        shape = self._shapes.get(total, ())
        terms = list(self._adds[total].input)
        attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in norm.attribute}
        last_axis = attributes.get("axis", -1) in (-1, len(shape) - 1)
        if self._shapes.get(terms[0]) != shape:
            terms.reverse()
        skips = (shape, shape[1:]) if len(shape) == 3 else (shape,)  # the kernel wants two sizes or more
        fit = self._shapes.get(terms[0]) == shape and self._shapes.get(terms[1]) in skips
        if not last_axis or not fit or len(shape) not in (2, 3) or total in self.gone:
            return None
        self.gone.add(total)
        bias: list[str] = []
        for place, (added, vector) in enumerate(self._biased(terms, shape[-1:])):
            if vector and not bias:
                self.gone.add(terms[place])
                terms[place], bias = added, [vector]
        outputs = [norm.output[0]]
        if self._readers[total] > 1:  # the sum is read by others too
            outputs += ["", "", total]
            self.kept.add(total)
        inputs = [*terms, *norm.input[1:3], *bias]
        name, epsilon = f"{norm.output[0]}/skip", attributes.get("epsilon", 1e-5)
        return helper.make_node(OPERATOR, inputs, outputs, name=name, domain=DOMAIN, epsilon=epsilon)

    def _biased(self, terms: list[str], width: tuple[int | str, ...]) -> Iterator[tuple[str, str]]:
        """Of each term what a bias vector is added to, and that vector; '' where there is none."""
        for term in terms:
            add = self._adds.get(term)
            found = (term, "")
            if add is not None and self._readers[term] == 1:
                for vector, added in (add.input, reversed(add.input)):
                    if self._shapes.get(vector) == width:
                        found = (added, vector)
            yield found
