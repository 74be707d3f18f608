"""What `backend: "onnxruntime"` means to a local Triton: our python-based backend, or a build of Triton's C++ one.

The variable POLYTASK_ONNXRUNTIME_BACKEND names a folder with `libtriton_onnxruntime.so` and the ONNX Runtime that it
was linked with, such as `/opt/tritonserver/backends/onnxruntime` of an image. Without it the python-based backend is
used, whose stub process has an environment with numpy 1: numpy 2 corrupts tensors there without an error.
"""

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from polytask.contract.triton_image import ONNX_RUNTIME
from polytask.errors import ServingError
from polytask.storage.atomic import atomic_folder, sha256_file

VARIABLE = "POLYTASK_ONNXRUNTIME_BACKEND"
LIBRARY = "libtriton_onnxruntime.so"
NAME = "onnxruntime"
STUB = "triton_python_backend_stub"
STUB_LOCK = Path(__file__).parents[2] / "locks" / "triton-stub.txt"
MODEL = Path(__file__).parent / "backend" / "model.py"
MARKER = ".complete"
INSTALL_DEADLINE_SECONDS = 900
VERSION_SECONDS = 60
# OrtApiBase is a pair of functions; the second returns the version.
PRINT_VERSION = """
import ctypes, sys
base = ctypes.CDLL(sys.argv[1]).OrtGetApiBase
base.restype = ctypes.POINTER(ctypes.c_void_p * 2)
print(ctypes.CFUNCTYPE(ctypes.c_char_p)(base().contents[1])().decode())
"""


@dataclass(frozen=True)
class OnnxRuntimeBackend:
    """An installed backend.

    Attributes:
        kind: Which of the two it is.
        folder: Triton's `--backend-directory`, which holds the folder `onnxruntime`.
        onnx_runtime: Version of the ONNX Runtime that runs the models.
        environment: Environment of the stub process; None for the C++ backend, which has none.
        libraries: Folders that the dynamic linker has to search.
    """

    kind: Literal["python-based", "C++"]
    folder: Path
    onnx_runtime: str
    environment: Path | None = None
    libraries: tuple[Path, ...] = ()

    @property
    def supported(self) -> bool:
        """Whether bundles are checked with this version of ONNX Runtime."""
        return self.onnx_runtime == ONNX_RUNTIME

    def __str__(self) -> str:
        return f"ONNX Runtime {self.onnx_runtime}, {self.kind} backend"


def named_backend() -> Path | None:
    """The folder that POLYTASK_ONNXRUNTIME_BACKEND names."""
    named = os.environ.get(VARIABLE)
    return Path(named).absolute() if named else None


def cpp_backend(folder: Path, root: Path) -> OnnxRuntimeBackend:
    """The C++ backend in `folder`, linked to from a backend directory below `root`.

    Raises ServingError where the folder does not hold the backend and its ONNX Runtime.
    """
    libraries = sorted(folder.glob("libonnxruntime.so*"), key=lambda path: len(path.name))
    if not (folder / LIBRARY).is_file() or not libraries:
        raise ServingError(f"{VARIABLE}: {folder} does not hold {LIBRARY} and libonnxruntime.so")
    backends = root / f"backends-{sha256(str(folder).encode()).hexdigest()[:16]}"
    if not backends.is_dir():
        with atomic_folder(backends) as temporary:
            (temporary / NAME).symlink_to(folder)
    return OnnxRuntimeBackend("C++", backends, _library_version(libraries[0]), libraries=(folder,))


def python_backend(
    root: Path, server_sha256: str, python_backend_files: Path, stub: Path, reused: list[str]
) -> OnnxRuntimeBackend:
    """The python-based backend, installed below `root` where it is missing; what was there is appended to `reused`.

    `python_backend_files` and `stub` are those of Triton's Python backend for the running Python.
    """
    environment = root / f"stub-{sys.version_info.major}.{sys.version_info.minor}"
    if _is_complete(environment):
        reused.append(f"stub environment {environment.name}")
    else:
        _create_environment(environment)
    # The name follows the content: a server that runs on an older `model.py` keeps the files that it started with.
    content = sha256(f"{server_sha256} {sha256_file(MODEL)} {stub.parent.name}".encode()).hexdigest()[:16]
    backends = root / f"backends-{content}"
    if not backends.is_dir():
        with atomic_folder(backends) as temporary:
            folder = temporary / NAME
            shutil.copytree(python_backend_files, folder)
            shutil.copy(stub, folder / STUB)
            shutil.copy(MODEL, folder / MODEL.name)
    return OnnxRuntimeBackend("python-based", backends, _package_version(environment), environment)


def _library_version(library: Path) -> str:
    """Read in a process of its own, since this one may have loaded another ONNX Runtime."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PRINT_VERSION, str(library)], capture_output=True, text=True, timeout=VERSION_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise ServingError(f"{library}: did not report its version within {VERSION_SECONDS} s") from error
    if done.returncode:
        raise ServingError(f"{library}: cannot be loaded: {done.stderr.strip().splitlines()[-1:]}")
    return done.stdout.strip()


def _package_version(environment: Path) -> str:
    """Version of the package onnxruntime in an environment."""
    places = [str(place) for place in environment.glob("lib/python*/site-packages")]
    found = next(iter(metadata.distributions(name=NAME, path=places)), None)
    if found is None:
        raise ServingError(f"{environment}: holds no package {NAME}; remove the folder, and the next start installs it")
    return found.version


def _mark() -> str:
    return f"{sha256_file(STUB_LOCK)} {sys.version.split()[0]} {sys.base_prefix}"


def _is_complete(environment: Path) -> bool:
    marker = environment / MARKER
    return marker.is_file() and marker.read_text(encoding="utf-8") == _mark()


def _create_environment(environment: Path) -> None:
    """A virtual environment with the locked packages; hashes are required."""
    with atomic_folder(environment) as temporary:
        venv.EnvBuilder(symlinks=True, with_pip=False).create(temporary)
        python = str(temporary / "bin" / "python3")
        done = subprocess.run(
            [*_installer(python), "--quiet", "--require-hashes", "-r", str(STUB_LOCK)],
            capture_output=True,
            text=True,
            timeout=INSTALL_DEADLINE_SECONDS,
        )
        if done.returncode:
            raise ServingError(f"the packages of {STUB_LOCK.name} cannot be installed: {done.stderr.strip()}")
        (temporary / MARKER).write_text(_mark(), encoding="utf-8")


def _installer(python: str) -> list[str]:
    """The command that installs into the environment of `python`: our own pip, or else uv."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--python", python, "install", "--only-binary", ":all:"]
    next_to_python = Path(sys.executable).parent / "uv"
    uv = str(next_to_python) if next_to_python.is_file() else shutil.which("uv")
    if uv is None:
        raise ServingError(f"neither pip nor uv is installed for {sys.executable}; one of them is needed")
    return [uv, "pip", "install", "--python", python, "--only-binary", ":all:"]
