"""The installation: what is reused, and what this machine may lack."""

import os
from pathlib import Path

import pytest

from polytask.errors import ServingError
from serving.triton import install
from serving.triton.install import TritonInstallation, check_libraries, find_libpython, install_triton


def test_a_second_installation_reuses_everything(triton_installation: TritonInstallation) -> None:
    again = install_triton()
    assert len(again.reused) == 2
    assert again.server == triton_installation.server
    assert again.backends == triton_installation.backends
    assert os.access(again.server, os.X_OK)
    assert (again.guard / "known_answer" / "1" / "model.onnx").is_file()


def test_a_missing_libpython_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_libpython().is_file()
    monkeypatch.setattr(install.Path, "is_file", lambda path: False)
    with pytest.raises(ServingError, match=r"apt install libpython3\.1"):
        find_libpython()


def test_a_missing_library_is_named_before_the_start(triton_installation: TritonInstallation, tmp_path: Path) -> None:
    stub = triton_installation.server.parents[1] / "python_backend_stubs" / "3.8" / install.STUB
    stub.chmod(0o755)
    with pytest.raises(ServingError, match=r"libpython3\.8\.so\.1\.0"):
        check_libraries(stub, (tmp_path,))
