"""The kind of a task is compared in `polytask/tasks/` alone: everything else calls a method of the kind."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from polytask.tasks.kind import KINDS

ROOT = Path(__file__).resolve().parents[3]
PACKAGES = ("polytask", "feature_repo", "components", "pipelines", "serving", "trainer", "benchmarks")
OWN = ROOT / "polytask" / "tasks"
NAMES = frozenset(KINDS)
# `kind == "binary"` in a template, `kind === 'binary'` in a script.
IN_A_TEMPLATE = re.compile(r"kind\w*\s*(?:[!=]==?|in)\s*[\[(]?\s*[\"'](?:" + "|".join(NAMES) + ")")


def comparisons(source: str) -> list[int]:
    """Lines that compare the kind of a task or the source of a label, or have a table by kind."""
    return sorted(
        {node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.expr) and requests(node)}
    )


def requests(node: ast.expr) -> bool:
    match node:
        case ast.Compare():
            operands = list(parts([node.left, *node.comparators]))
            return any(is_kind(one) or is_source(one) or is_name(one) for one in operands)
        case ast.Call(func=ast.Name(id="isinstance"), args=[_, classes]):
            return any(isinstance(one, ast.Name) and one.id.endswith("Head") for one in parts([classes]))
        case ast.Subscript(slice=ast.Attribute() as index):
            return is_kind(index)
        case ast.Dict():
            return sum(is_name(key) for key in node.keys if key is not None) > 1
    return False


def parts(nodes: list[ast.expr]) -> Iterator[ast.expr]:
    for node in nodes:
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            yield from parts(node.elts)
        elif isinstance(node, ast.BinOp):
            yield from parts([node.left, node.right])
        else:
            yield node


def is_kind(node: ast.expr) -> bool:
    """`task.kind`, `scenario.task(name).kind`, `self.task.kind`; not the kinds of sources, splits and arrays."""
    return isinstance(node, ast.Attribute) and node.attr == "kind" and "task" in ast.unparse(node.value).lower()


def is_source(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "source" and ast.unparse(node.value).endswith("label")


def is_name(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value in NAMES


def test_nobody_compares_kinds() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if OWN not in path.parents
        for line in comparisons(path.read_text(encoding="utf-8"))
    ]
    assert found == [], "call a method of polytask.tasks.kind.kind_of(task) instead"


def test_no_template_compares_kinds() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.suffix in (".html", ".js")]
    assert len(files) > 2
    assert [str(path) for path in files if IN_A_TEMPLATE.search(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    "source",
    [
        'task.kind == "retrieval"',
        'scenario.task(name).kind != "regression"',
        'task.kind in ("binary", "multiclass")',
        'name = "a" if one.kind == "multilabel" else "b"',
        "task.kind in LISTS",
        "_FITTING[task.kind]",
        'label.source == "item"',
        'task.label.source != "peers"',
        "task.label.source in SOURCES",
        "isinstance(head, RegressionHead)",
        "isinstance(self.heads[name], (RetrievalHead, RegressionHead))",
        'suffixes = {"binary": ("scores",), "regression": ("values",)}',
    ],
)
def test_a_comparison_is_found(source: str) -> None:
    assert comparisons(source) == [1]


@pytest.mark.parametrize(
    "source",
    [
        "kind_of(task).merges",
        'source.kind == "tables"',
        'self.split.kind != "leave_one_out"',
        'array.dtype.kind == "f"',
        "(one.kind, one.catalogue) == (other.kind, other.catalogue)",
        '{"name": "a", "kind": "binary"}',
    ],
)
def test_other_comparisons_are_none_of_its_business(source: str) -> None:
    assert comparisons(source) == []


def test_a_template_is_read() -> None:
    assert IN_A_TEMPLATE.search('{% elif about.kind == "binary" %}')
    assert not IN_A_TEMPLATE.search('{% if move.kind == "up" %}')
