"""The names on the wire are spelled in one module: client, server, explainer, console and commands import them."""

import ast
from pathlib import Path

from polytask.contract import names
from polytask.contract.tensors import text_inputs, text_outputs

ROOT = Path(__file__).resolve().parents[3]
# Words that also name other things than an input or an output.
ORDINARY = {"query", "context", "timestamp", "k", "tasks", "slate", "filters", "instances", "targets", "priority"}


def test_a_name_on_the_wire_is_spelled_once():
    models = {spec.name for spec in (*text_inputs(), *text_outputs(1))} | {names.HISTORY, names.SEEN, names.USER}
    models |= {names.DISLIKED, names.ALLOWED, names.ENCODED_TEXT}
    strings = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
    wire = strings - models - ORDINARY
    assert {"user_id", "recent_items", "cold_start", "slate_ids"} <= wire
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for folder in ("serving", "polytask/client")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in wire
    ]
    assert found == []
