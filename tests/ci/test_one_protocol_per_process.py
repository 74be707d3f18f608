"""KServe and tritonclient each define the messages of the inference protocol: a process can import one of them."""

import sys


def test_no_test_module_imports_kserve():
    # All modules are imported before the first test runs. Those that need KServe run in processes of their own.
    assert "kserve" not in sys.modules, "a test module imports kserve: run it as test_messages.py does"
