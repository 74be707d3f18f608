"""Install a real Triton server below the cache folder, without root and without a container.

The server comes out of the `nvidia-pytriton` wheel, whose own dependencies are not needed. `onnxruntime_backend.py`
adds the backend that runs the models.
"""

import fcntl
import os
import platform
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from polytask.contract.triton_image import STUB_PYTHONS
from polytask.errors import ServingError
from polytask.storage.wheels import Wheel, cache_folder, extract_wheel
from serving.local.known_response import write_known_response
from serving.triton.onnxruntime_backend import (
    INSTALL_DEADLINE_SECONDS,
    MARKER,
    STUB,
    OnnxRuntimeBackend,
    cpp_backend,
    named_backend,
    python_backend,
)

# The wheels of one version by processor, as `platform.machine()` names it.
WHEELS = {
    "x86_64": "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
    "aarch64": "f99e07ee56fe065337453956afba17d2673e02ec6a632c3de26ce6e7b32a0898",
}
MACHINE = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
VERSION = "0.7.0"
PYTRITON = Wheel(
    name="nvidia-pytriton",
    version=VERSION,
    file=f"nvidia_pytriton-{VERSION}-py3-none-manylinux_2_35_{MACHINE}.whl",
    sha256=WHEELS.get(MACHINE, ""),
)
PREFIXES = ("pytriton/tritonserver/", "nvidia_pytriton.libs/")


@dataclass(frozen=True)
class TritonInstallation:
    """Where the parts of an installed Triton are. `reused` names the parts that were there already."""

    server: Path
    backend: OnnxRuntimeBackend
    libraries: tuple[Path, ...]
    guard: Path
    reused: tuple[str, ...] = ()


def install_triton(cache: Path | None = None) -> TritonInstallation:
    """Install what is missing of Triton below `cache` (default: `polytask.storage.wheels.cache_folder()`).

    Its backend is the one that POLYTASK_ONNXRUNTIME_BACKEND names, else the python-based one.
    Raises ServingError when this machine lacks something that only its owner can install, DataError when the wheel
    cannot be had.
    """
    if MACHINE not in WHEELS:
        raise ServingError(f"{PYTRITON.name} has no wheel for {MACHINE}; allowed: {', '.join(WHEELS)}")
    root = (cache or cache_folder()) / "triton"
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with _only_one(root):
        found = root / "server" / MARKER
        reused = [f"Triton server of {PYTRITON.name} {PYTRITON.version}"] if found.is_file() else []
        unpacked = extract_wheel(PYTRITON, PREFIXES, root / "server", cache)
        triton = unpacked / "pytriton" / "tritonserver"
        server = triton / "bin" / "tritonserver"
        stub = triton / "python_backend_stubs" / python / STUB
        if python not in STUB_PYTHONS or not stub.is_file():
            allowed = " or ".join(STUB_PYTHONS)
            raise ServingError(f"{PYTRITON.file} has no Python backend for Python {python}; allowed: {allowed}")
        for program in (server, stub):
            program.chmod(0o755)
        libraries = (_library_folder(root, find_libpython()), unpacked / "nvidia_pytriton.libs")
        named = named_backend()
        for program in (server,) if named else (server, stub):
            check_libraries(program, libraries)
        if named:
            backend = cpp_backend(named, root)
        else:
            backend = python_backend(root, PYTRITON.sha256, triton / "backends" / "python", stub, reused)
        guard = write_known_response(root)
    return TritonInstallation(server, backend, (*libraries, *backend.libraries), guard, tuple(reused))


def find_libpython() -> Path:
    """The shared library of the running Python, which the stub process embeds.

    Raises ServingError with the package to install: without the library Triton would wait for its stub for ever.
    """
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    configured = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    multiarch = sysconfig.get_config_var("MULTIARCH") or f"{MACHINE}-linux-gnu"
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
