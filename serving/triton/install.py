"""Install a real Triton server below the cache folder, without root and without a container.

The server comes out of the `nvidia-pytriton` wheel, whose own dependencies are not needed. Beside it stands an
environment for the Python backend's stub process, with numpy 1: numpy 2 corrupts tensors there without an error.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from polytask.atomic import atomic_folder, sha256_file
from polytask.errors import ServingError
from polytask.packages import Wheel, cache_folder, extract_wheel
from serving.triton.known_answer import write_known_answer

PYTRITON = Wheel(
    name="nvidia-pytriton",
    version="0.7.0",
    file="nvidia_pytriton-0.7.0-py3-none-manylinux_2_35_x86_64.whl",
    sha256="21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
)
PREFIXES = ("pytriton/tritonserver/", "nvidia_pytriton.libs/")
STUB = "triton_python_backend_stub"
STUB_LOCK = Path(__file__).parents[2] / "locks" / "triton-stub.txt"
BACKEND = Path(__file__).parent / "backend" / "model.py"
MARKER = ".complete"
INSTALL_DEADLINE_SECONDS = 900


@dataclass(frozen=True)
class TritonInstallation:
    """Where the parts of an installed Triton are. `reused` names the parts that were there already."""

    server: Path
    backends: Path
    environment: Path
    libraries: tuple[Path, ...]
    guard: Path
    reused: tuple[str, ...] = ()


def install_triton(cache: Path | None = None) -> TritonInstallation:
    """Install what is missing of Triton below `cache` (default: `polytask.packages.cache_folder()`).

    Raises ServingError when this machine lacks something that only its owner can install, DataError when the wheel
    cannot be had.
    """
    root = (cache or cache_folder()) / "triton"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    library = find_libpython()
    with _only_one(root):
        found = root / "server" / MARKER
        reused = [f"Triton server of {PYTRITON.name} {PYTRITON.version}"] if found.is_file() else []
        unpacked = extract_wheel(PYTRITON, PREFIXES, root / "server", cache)
        triton = unpacked / "pytriton" / "tritonserver"
        server = triton / "bin" / "tritonserver"
        stub = triton / "python_backend_stubs" / python / STUB
        if not stub.is_file():
            raise ServingError(f"{PYTRITON.file} has no Python backend for Python {python}; allowed: 3.11 or 3.12")
        for program in (server, stub):
            program.chmod(0o755)
        libraries = (_library_folder(root, library), unpacked / "nvidia_pytriton.libs")
        for program in (server, stub):
            check_libraries(program, libraries)
        environment = root / f"stub-{python}"
        if _environment_stands(environment):
            reused.append(f"stub environment {environment.name}")
        else:
            _create_environment(environment)
        backends = _install_backends(root, triton / "backends" / "python", stub)
        guard = write_known_answer(root)
    return TritonInstallation(server, backends, environment, libraries, guard, tuple(reused))


def find_libpython() -> Path:
    """The shared library of the running Python, which the stub process embeds.

    Raises ServingError with the package to install: without the library Triton would wait for its stub for ever.
    """
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    configured = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    multiarch = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    folders = [configured, configured / multiarch, Path(sys.base_prefix) / "lib", Path("/usr/lib") / multiarch]
    folders += [Path("/usr/lib64"), Path("/usr/lib"), Path("/usr/local/lib")]
    for folder in folders:
        if (folder / name).is_file():
            return (folder / name).resolve()
    package = name.removesuffix(".so.1.0")
    places = ", ".join(str(folder) for folder in dict.fromkeys(folders))
    raise ServingError(f"{name}: not found in {places}; install it, on Debian or Ubuntu with: apt install {package}")


def check_libraries(program: Path, libraries: tuple[Path, ...]) -> None:
    """Raise ServingError where the dynamic linker does not find a library of `program`."""
    linker = {"LD_TRACE_LOADED_OBJECTS": "1", "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))}
    done = subprocess.run([program], env={**os.environ, **linker}, capture_output=True, text=True, timeout=60)
    missing = [line.split()[0] for line in done.stdout.splitlines() if line.endswith("not found")]
    if missing or done.returncode:
        lacks = ", ".join(missing) or done.stderr.strip()
        raise ServingError(f"{program.name} cannot run here; the dynamic linker does not find: {lacks}")


@contextmanager
def _only_one(root: Path) -> Iterator[None]:
    """Hold the installation's lock: two runs that start together share one download."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as file:
        deadline = time.monotonic() + INSTALL_DEADLINE_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise ServingError(f"{root}: another process has been installing Triton for too long") from error
                time.sleep(0.2)
        yield


def _library_folder(root: Path, library: Path) -> Path:
    """A folder with nothing but libpython: its own folder may hold libraries that Triton must not take."""
    folder = root / "libpython"
    folder.mkdir(exist_ok=True)
    link = folder / library.name
    if not link.is_symlink() or link.readlink() != library:
        link.unlink(missing_ok=True)
        link.symlink_to(library)
    return folder


def _environment_mark() -> str:
    return f"{sha256_file(STUB_LOCK)} {sys.version.split()[0]} {sys.base_prefix}"


def _environment_stands(environment: Path) -> bool:
    marker = environment / MARKER
    return marker.is_file() and marker.read_text(encoding="utf-8") == _environment_mark()


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
        (temporary / MARKER).write_text(_environment_mark(), encoding="utf-8")


def _installer(python: str) -> list[str]:
    """The command that installs into the environment of `python`: our own pip, or else uv."""
    if find_spec("pip") is not None:
        return [sys.executable, "-m", "pip", "--python", python, "install", "--only-binary", ":all:"]
    beside = Path(sys.executable).parent / "uv"
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv is None:
        raise ServingError(f"neither pip nor uv is installed beside {sys.executable}; one of them is needed")
    return [uv, "pip", "install", "--python", python, "--only-binary", ":all:"]


def _install_backends(root: Path, python_backend: Path, stub: Path) -> Path:
    """The backend folder: it holds `onnxruntime`, made of Triton's Python backend and our `model.py`.

    Its name follows its content: a server that runs on an older `model.py` keeps the files it started with.
    """
    content = sha256(f"{PYTRITON.sha256} {sha256_file(BACKEND)} {stub.parent.name}".encode()).hexdigest()[:16]
    backends = root / f"backends-{content}"
    if not backends.is_dir():
        with atomic_folder(backends) as temporary:
            folder = temporary / "onnxruntime"
            shutil.copytree(python_backend, folder)
            shutil.copy(stub, folder / STUB)
            shutil.copy(BACKEND, folder / BACKEND.name)
    return backends
