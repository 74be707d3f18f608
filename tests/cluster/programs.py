"""Builds the programs of the control plane from their Go modules, once for each go.mod, and finds the modules' folders.

Run as a program (`python -m tests.cluster.programs`) it builds them and reports how far it is.
"""

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "cluster"
# Each program with the folder of its go.mod.
PACKAGES = {
    "etcd": (HERE, "go.etcd.io/etcd/server/v3"),
    "kwok": (HERE / "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
    "kube-scheduler": (HERE, "k8s.io/kubernetes/cmd/kube-scheduler"),
    "kube-controller-manager": (HERE, "k8s.io/kubernetes/cmd/kube-controller-manager"),
    "kube-apiserver": (HERE, "k8s.io/kubernetes/cmd/kube-apiserver"),
}
# A build without Go's cache takes about 10 minutes on two idle cores.
BUILD_SECONDS = 45 * 60
DOWNLOAD_SECONDS = 10 * 60
REPORT_SECONDS = 30


class NotBuilt(Exception):
    """The programs could not be built. The message has the program's name and Go's error message."""


def find_go() -> str | None:
    """The Go command, None where there is none."""
    return shutil.which("go")


def programs() -> dict[str, Path]:
    """The path of each program by its name; builds those that are missing. Raises NotBuilt."""
    go = find_go()
    if go is None:
        raise NotBuilt("go is not installed: the control plane is built from Go modules (Go 1.26 or newer)")
    folders = {where: BUILD / f"programs-{_key(go, where)}" for where, _ in PACKAGES.values()}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folders[where] / name for name, (where, _) in PACKAGES.items()}
    with _lock(BUILD / "lock"):
        end = time.monotonic() + BUILD_SECONDS
        for name, path in paths.items():
            if not path.is_file():
                _build(go, name, path, end)
    return paths


def module_folder(module: str, where: Path = HERE) -> Path:
    """The folder of a module of the go.mod in `where`, downloaded where it is missing. Raises NotBuilt."""
    go = find_go()
    if go is None:
        raise NotBuilt(f"go is not installed: the folder of the module {module} is not found without it")
    command = [go, "mod", "download", "-json", module]
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False)
    if done.returncode:
        raise NotBuilt(f"{module}: {done.stdout.strip()} {done.stderr.strip()}")
    return Path(json.loads(done.stdout)["Dir"])


def _key(go: str, where: Path) -> str:
    """Changes with the versions of the modules of a go.mod, and with that of Go."""
    version = subprocess.run([go, "version"], capture_output=True, text=True, timeout=60, check=True).stdout
    parts = [version.encode(), *((where / name).read_bytes() for name in ("go.mod", "go.sum"))]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _build(go: str, name: str, path: Path, end: float) -> None:
    """Build one program under a temporary name, then rename it: a program that is there is whole."""
    temporary = path.with_suffix(".building")
    where, package = PACKAGES[name]
    command = [go, "build", "-p", "2", f"-ldflags={_link_flags()}", "-o", str(temporary), package]
    started = reported = time.monotonic()
    _report(f"building {name}")
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=where, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            while process.poll() is None:
                if time.monotonic() > end:
                    raise NotBuilt(f"{name}: not built within {BUILD_SECONDS / 60:.0f} minutes (all programs together)")
                if time.monotonic() - reported > REPORT_SECONDS:
                    reported = time.monotonic()
                    _report(f"building {name}: {reported - started:.0f} s so far")
                time.sleep(0.2)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        if process.returncode:
            output.seek(0)
            raise NotBuilt(f"{name}: {output.read().decode(errors='replace')[-2000:].strip()}")
    temporary.rename(path)
    _report(f"built {name} in {time.monotonic() - started:.0f} s")


def _link_flags() -> str:
    """A program built from a module does not know its release: kubectl and the servers compare theirs."""
    found = re.search(r"k8s.io/kubernetes v((\d+)\.(\d+)\.\d+)", (HERE / "go.mod").read_text(encoding="utf-8"))
    assert found is not None, "go.mod pins no k8s.io/kubernetes"
    values = {"gitVersion": f"v{found[1]}", "gitMajor": found[2], "gitMinor": found[3]}
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())])


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Only one process builds; another one waits for it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _report(line: str) -> None:
    sys.__stderr__.write(f"{line}\n")  # type: ignore[union-attr]
    sys.__stderr__.flush()  # type: ignore[union-attr]


if __name__ == "__main__":
    try:
        programs()
    except NotBuilt as error:
        _report(str(error))
        sys.exit(1)
