"""The installation: what is reused, and what this machine may lack."""

import os
from pathlib import Path

import onnxruntime
import pytest

from polytask.contract.triton_image import ONNX_RUNTIME
from polytask.errors import ServingError
from serving.local import install
from serving.local.install import TritonInstallation, check_libraries, find_libpython, install_triton
from serving.triton.onnxruntime_backend import VARIABLE, cpp_backend, named_backend


def test_a_second_installation_reuses_everything(triton_installation: TritonInstallation) -> None:
    again = install_triton()
    assert len(again.reused) == (1 if again.backend.kind == "C++" else 2)
    assert again.server == triton_installation.server
    assert again.backend == triton_installation.backend
    assert os.access(again.server, os.X_OK)
    assert (again.guard / "known_response" / "1" / "model.onnx").is_file()


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


def test_the_python_based_backend_has_the_supported_onnx_runtime(
    monkeypatch: pytest.MonkeyPatch, triton_installation: TritonInstallation
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    backend = install_triton().backend
    assert (backend.kind, backend.onnx_runtime, backend.supported) == ("python-based", ONNX_RUNTIME, True)
    assert str(backend) == f"ONNX Runtime {ONNX_RUNTIME}, python-based backend"


def test_a_named_folder_is_linked_into_a_backend_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ONNX Runtime of this environment, whose version is read from the library itself."""
    folder, root = tmp_path / "backend", tmp_path / "root"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    named = named_backend()
    assert named == folder
    with pytest.raises(ServingError, match=rf"{VARIABLE}: .*backend does not hold libtriton_onnxruntime\.so and lib"):
        cpp_backend(named, root)
    (folder / "libtriton_onnxruntime.so").touch()
    (folder / "libonnxruntime.so.1").write_text("no library")
    with pytest.raises(ServingError, match=r"libonnxruntime\.so\.1: cannot be loaded: "):
        cpp_backend(named, root)
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    (folder / "libonnxruntime.so.1").unlink()
    (folder / "libonnxruntime.so.1").symlink_to(library)
    backend = cpp_backend(named, root)
    assert (backend.kind, backend.onnx_runtime) == ("C++", onnxruntime.__version__)
    assert (backend.folder / "onnxruntime").resolve() == folder.resolve()
    assert cpp_backend(named, root) == backend
