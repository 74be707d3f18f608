"""The commands of a page for readers, in its order, and a folder with programs in which they can be run.

A command is a line of a shell block, or inline code that is a command with arguments. Inline code that is only the
beginning of another command of the page mentions that one.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import yaml

from polytask.registry.files import CURRENT, point
from serving.manifests.render import find_kubectl
from tests.cluster.control_plane import ControlPlane
from tests.docs.test_commands import BLOCK, commands_of

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("kubectl", "polytask", "make", "kind", "minikube")
INLINE = re.compile(rf"`((?:{'|'.join(PROGRAMS)}) [^`\n]+)`")
COMMAND_SECONDS = 240
# Programs that are not there: they build or load images. Each call is recorded as a line and succeeds.
RECORDED = ("podman", "kind", "minikube")
# `kubectl port-forward` needs a kubelet: this fails, as the real one does, where its object is missing, and forwards
# nothing.
KUBECTL = """#!/bin/sh
case " $* " in
*" port-forward "*) "{kubectl}" "$1" "$2" get "$4" >&2 && echo kubectl "$@" >>"{calls}" ;;
*) exec "{kubectl}" "$@" ;;
esac
"""
# A canary step takes 0.5 s instead of 5 minutes; no option sets that.
POLYTASK = """#!{python}
import sys
sys.path.insert(0, "{root}")
from serving.rollout.settings import Settings
defaults = Settings.__init__.__defaults__
assert defaults.count(300.0) == 1, defaults
Settings.__init__.__defaults__ = tuple(0.5 if value == 300.0 else value for value in defaults)
if sys.argv[1] == "rollout" and "--url" not in sys.argv:
    sys.argv += ["--url", {services!r}]  # the address of the Service, which nobody resolves here
from polytask.cli import main
main()
"""


def commands(page: str) -> list[str]:
    """All commands of a page, in page order; a command that is also in a block runs there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [
        (block.start(), _one_line(command.line))
        for block in BLOCK.finditer(text)
        for command in commands_of(ROOT / page, block[0])
    ]
    prose = BLOCK.sub(lambda block: " " * len(block[0]), text)
    inline = {found[1]: found.start() for found in reversed([*INLINE.finditer(prose)])}  # the first place of each
    lines = {*(line for _, line in blocks), *inline}
    own = [(place, line) for line, place in inline.items() if not any(_mentions(line, other) for other in lines)]
    own = [(place, line) for place, line in own if line not in {line for _, line in blocks}]
    return [line for _, line in sorted([*blocks, *own], key=lambda found: found[0])]


def _one_line(line: str) -> str:
    return re.sub(r"  +", " ", line)


def _mentions(line: str, other: str) -> bool:
    """Whether `line` is only the beginning of another command."""
    words = line.split()
    return line != other and other.split()[: len(words)] == words


def check_table(page: str, left_out: Mapping[str, str]) -> None:
    """Every command that is left out is on the page, and a reason is given."""
    unknown = left_out.keys() - set(commands(page))
    assert not unknown, f"{page} has no such commands: {sorted(unknown)}"
    assert all(left_out.values()), f"{page}: reasons are missing: {left_out}"


class Desk:
    """A folder that looks like the repository after `make demo`, and the programs that commands find there.

    `bundles` are the published versions, of which the newest is the live one. `services` is the address of the data
    plane with {namespace} and {name}.
    """

    def __init__(self, folder: Path, plane: ControlPlane, bundles: Mapping[int, Path], services: str) -> None:
        self.folder = folder / "repository"
        self.calls = folder / "calls"
        self.calls.touch()
        self._programs = folder / "bin"
        self._kubeconfig = plane.kubeconfig
        self._background = folder / "background"
        self._running: list[subprocess.Popen[bytes]] = []
        self.folder.mkdir()
        for entry in ROOT.iterdir():
            if entry.name not in ("build", ".venv"):
                (self.folder / entry.name).symlink_to(entry)
        published = self.folder / "build" / "demo" / "movielens" / "published"
        published.mkdir(parents=True)
        for number, bundle in bundles.items():
            (published / str(number)).symlink_to(bundle)
        point(published / CURRENT, str(max(bundles)))
        for name in ("tls.crt", "tls.key", "ca.crt", "token"):
            (self.folder / name).write_text("of the test", encoding="utf-8")
        self._write_programs(services)

    def run(self, line: str, check: bool = True) -> str:
        """Run a command as an administrator. Returns what it printed; with `check` it has to succeed."""
        environment = {
            **os.environ,
            "HOME": str(self.folder),  # another Kubeflow may have been used from the user's
            "KUBECONFIG": str(self._kubeconfig),
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "COLUMNS": "400",
        }
        if line.endswith("&"):
            with self._background.open("ab") as output:
                self._running.append(
                    subprocess.Popen(
                        ["bash", "-c", line.removesuffix("&")],
                        cwd=self.folder,
                        env=environment,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                    )
                )
            return ""
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert not check or done.returncode == 0, f"{line}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout + done.stderr

    def close(self) -> None:
        """Wait for the commands in the background, which end by themselves. Raises where one does not, or fails."""
        for process in self._running:
            try:
                code = process.wait(20)
            finally:
                process.kill()
            assert code == 0, self._background.read_text(encoding="utf-8")[-2000:]

    def _write_programs(self, services: str) -> None:
        self._programs.mkdir()
        make = f'#!/bin/sh\nexec /usr/bin/make -o setup BIN="{self._programs}" "$@"\n'  # the environment is there
        texts = {name: f'#!/bin/sh\necho {name} "$@" >>"{self.calls}"\n' for name in RECORDED}
        texts["kubectl"] = KUBECTL.format(kubectl=find_kubectl(), calls=self.calls)
        texts["polytask"] = POLYTASK.format(python=sys.executable, root=ROOT, services=services)
        for name, text in {**texts, "make": make}.items():
            path = self._programs / name
            path.write_text(text, encoding="utf-8")
            path.chmod(0o755)


def namespaces() -> dict[str, str]:
    """The namespace of each overlay, by its name."""
    paths = sorted(ROOT.glob("manifests/overlays/*/kustomization.yaml"))
    return {path.parent.name: yaml.safe_load(path.read_text(encoding="utf-8"))["namespace"] for path in paths}
