"""One Sum before each LayerNormalization instead of a chain of Adds: faster in ONNX Runtime on a CPU.

ONNX Runtime joins Add and LayerNormalization to SkipLayerNormalization, whose CPU kernel takes several times as long as
the two nodes that it replaces (1.32: 8% of a float32 text encoder, a quarter of an int8 one). It leaves Sum alone.
"""

from collections import Counter

import onnx
from onnx import NodeProto, helper


def with_residual_sums(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose LayerNormalizations read a Sum of what a tree of Adds added up for them alone."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    adds = {node.output[0]: node for node in graph.node if node.op_type == "Add"}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    gone: set[str] = set()
    sums: dict[str, NodeProto] = {}
    for node in graph.node:
        if node.op_type == "LayerNormalization" and node.input[0] in adds:
            total = node.input[0]
            terms = _terms(total, adds, readers, gone)
            sums[total] = helper.make_node("Sum", terms, [total], name=f"{total}/residual_sum")
    nodes = [sums.get(node.output[0], node) for node in graph.node if node.output[0] not in gone]
    graph.CopyFrom(helper.make_graph(nodes, graph.name, graph.input, graph.output, graph.initializer))
    return copy


def _terms(total: str, adds: dict[str, NodeProto], readers: Counter[str], gone: set[str]) -> list[str]:
    """What is added up to `total`; Adds that only serve this are noted in `gone`."""
    terms: list[str] = []
    for name in adds[total].input:
        if name in adds and readers[name] == 1:
            gone.add(name)
            terms += _terms(name, adds, readers, gone)
        else:
            terms.append(name)
    return terms
