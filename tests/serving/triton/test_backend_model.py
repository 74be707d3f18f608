"""Behaviour that is only visible inside the python-based backend, whose module runs only in Triton's stub."""

import importlib.util
import sys
from types import ModuleType

import pytest

from serving.triton.onnxruntime_backend import MODEL


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, with a stand-in for what the stub brings."""
    stub = ModuleType("triton_python_backend_utils")
    stub.TritonModelException = type("TritonModelException", (Exception,), {})
    monkeypatch.setitem(sys.modules, stub.__name__, stub)
    spec = importlib.util.spec_from_file_location("backend_model", MODEL)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_session_parameters_are_obeyed_where_the_c_backend_ignores_them(model: ModuleType) -> None:
    parameters = {key: {"string_value": "0"} for key in ("session.intra_op.allow_spinning", "no_such_parameter")}
    options = model.session_options({"parameters": parameters})
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    with pytest.raises(RuntimeError):
        options.get_session_config_entry("no_such_parameter")


def test_the_shrinkage_of_the_arena_is_an_option_of_each_run(model: ModuleType) -> None:
    name = "memory.enable_memory_arena_shrinkage"
    options = model.run_options({"parameters": {name: {"string_value": "cpu:0"}}})
    assert options.get_run_config_entry(name) == "cpu:0"
