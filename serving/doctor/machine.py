"""The machine: system, Python, packages, disk, memory, ports. Tests pass the checked values as arguments."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from polytask.contract.triton_image import STUB_PYTHONS
from polytask.errors import ServingError
from serving.doctor.finding import CheckResult, fault, note, ok
from serving.local.console import PORT
from serving.local.install import find_libpython
from serving.local.triton import HOST, choose_ports

LEAST_GLIBC = (2, 35)
# Measured: downloads and text vectors take .4 GB, what a demo leaves .1 GB; the environment is there when this runs.
DISK_GB = 1.0
# Measured: Triton, transformer, explainer and console over MovieLens take 1.3 GB, the point-in-time join 1.2 GB.
MEMORY_GB = 1.5
MEMINFO = Path("/proc/meminfo")
GB = 1e9


def check_system(
    system: str = platform.system(), machine: str = platform.machine(), libc: tuple[str, str] = platform.libc_ver()
) -> CheckResult:
    """Triton comes from a wheel for Linux on x86-64 or arm64 with glibc 2.35 or newer."""
    found = f"{system} on {machine}, {' '.join(libc) or 'no libc known'}"
    version = tuple(int(part) for part in libc[1].split(".") if part.isdigit())
    if (
        system == "Linux"
        and machine in ("x86_64", "AMD64", "aarch64", "arm64")
        and libc[0] == "glibc"
        and version >= LEAST_GLIBC
    ):
        return ok("system", found)
    return fault(
        "system",
        found,
        "use Debian 12 or Ubuntu 22.04, or newer, on x86-64 or arm64: the Triton wheel needs glibc 2.35",
    )


def check_python(
    version: Sequence[int] = sys.version_info[:3], library: Callable[[], Path] = find_libpython
) -> CheckResult:
    """A Python that Triton's stub process has a build for (`STUB_PYTHONS`), with the shared library it embeds."""
    found = ".".join(map(str, version))
    if f"{version[0]}.{version[1]}" not in STUB_PYTHONS:
        fix = f"make the environment with {' or '.join(STUB_PYTHONS)}: make setup PYTHON=python{STUB_PYTHONS[0]}"
        return fault("python", found, fix)
    try:
        return ok("python", f"{found}, {library().name}")
    except ServingError as error:
        return fault("python", found, str(error))


def check_packages(
    requirements: Callable[[], list[str] | None] = lambda: metadata.requires("polytask"),
    version: Callable[[str], str] = metadata.version,
) -> CheckResult:
    """What serving needs is installed, in the versions that are allowed."""
    try:
        wanted = [Requirement(text) for text in requirements() or []]
    except metadata.PackageNotFoundError:
        return fault(
            "packages", "polytask is not installed in this environment", "make setup, then source .venv/bin/activate"
        )
    wrong, right = [], 0
    for requirement in wanted:
        if requirement.marker is not None and not any(
            requirement.marker.evaluate({"extra": extra}) for extra in ("", "serve", "cpu")
        ):
            continue
        try:
            installed = version(requirement.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if requirement.specifier.contains(installed, prereleases=True):
            right += 1
        else:
            wrong.append(f"{requirement.name} {installed}, allowed: {requirement.specifier}")
    if wrong:
        return fault("packages", "; ".join(wrong), "make setup brings the locked versions")
    return ok("packages", f"{right} needed ones in allowed versions")


def check_disk(folder: Path, free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free) -> CheckResult:
    """Room for environment, downloads and models."""
    gigabytes = free(folder) / GB
    found = f"{gigabytes:.1f} GB free in {folder}"
    if gigabytes < DISK_GB:
        return fault(
            "disk",
            found,
            f"free some: downloads and models want {DISK_GB:g} GB; make clean removes what was built here",
        )
    return ok("disk", found)


def check_memory(text: Callable[[], str] = lambda: MEMINFO.read_text(encoding="utf-8")) -> CheckResult:
    """Memory that is available now."""
    try:
        lines = dict(line.split(":", 1) for line in text().splitlines() if ":" in line)
        gigabytes = int(lines["MemAvailable"].split()[0]) * 1024 / GB
    except (OSError, KeyError, ValueError):
        return note("memory", f"{MEMINFO} has no MemAvailable", f"see that {MEMORY_GB:g} GB are free")
    found = f"{gigabytes:.1f} GB available"
    if gigabytes < MEMORY_GB:
        return fault("memory", found, f"stop something: serving takes {MEMORY_GB:g} GB, training about as much")
    return ok("memory", found)


def check_ports(choose: Callable[..., list[int]] = choose_ports) -> CheckResult:
    """Servers can listen on this machine; the console has its usual port."""
    try:
        choose(None)
    except (ServingError, OSError) as error:
        return fault("ports", str(error), f"let programs listen on {HOST}")
    try:
        choose(PORT)
    except ServingError:
        return note(
            "ports", f"{PORT} is taken", "the console takes a free port then; polytask console --port names one"
        )
    return ok("ports", f"{HOST} can be listened on, {PORT} is free")


def check_cores(cores: int = len(os.sched_getaffinity(0))) -> CheckResult:
    """Two cores are what the project is made for."""
    if cores < 2:
        return note("cores", str(cores), "it works, slowly: training and serving are made for two cores or more")
    return ok("cores", str(cores))
