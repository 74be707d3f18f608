"""Paths are printed whole, on a narrow terminal and in a pipe."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pipelines.commands.paths import print_path_table, print_paths, shown_path
from polytask.registry.folder import FolderRegistry

LONG = Path("/mnt") / "a-long-name-of-a-folder" / "with-more-in-it" / "published" / "1234567890" / "contract.json"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture(params=[True, False], ids=["terminal", "pipe"])
def narrow(request: pytest.FixtureRequest) -> Console:
    return Console(file=io.StringIO(), width=40, force_terminal=request.param)


def lines(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return ANSI.sub("", console.file.getvalue()).splitlines()


def test_a_line_per_path(narrow: Console) -> None:
    print_paths(narrow, "Artifacts", {"contract": LONG, "log": Path.cwd() / "build" / "[red].log"})
    assert lines(narrow) == ["Artifacts", f"  contract  {LONG}", "  log       build/[red].log"]
    assert shown_path(Path.cwd() / "x") == "x" and shown_path("a registry") == "a registry"


def test_a_table_folds_all_but_its_paths(narrow: Console) -> None:
    rows = [("published versions", str(LONG), "rewritten without the user " * 4), ("[bold]", "short", "deleted")]
    print_path_table(narrow, ("place", "where", "done"), rows)
    (whole,) = [line for line in lines(narrow) if str(LONG) in line]
    assert "published" in whole and "rewritten" in whole
    assert any("[bold]" in line and "short" in line for line in lines(narrow))
    assert narrow.width == 40
    assert (max(map(len, lines(narrow))) <= len(str(LONG)) + 60) == narrow.is_terminal


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_the_commands_print_whole_paths(terminal: bool, tmp_path: Path) -> None:
    folder = tmp_path / LONG.relative_to("/")
    FolderRegistry(folder)
    command = [sys.executable, "-m", "polytask", "models", "--registry-dir", str(folder)]
    output = in_terminal(command) if terminal else in_pipe(command)
    assert f"no versions in {folder}" in output


def in_pipe(command: list[str]) -> str:
    environment = {**os.environ, "COLUMNS": "40"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True).stdout


def in_terminal(command: list[str]) -> str:
    """What a command prints on a terminal of 40 columns, without its codes."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm"}
    with subprocess.Popen(command, env=environment, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        printed = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            printed += part
        assert process.wait(timeout=120) == 0
    os.close(ours)
    return ANSI.sub("", printed.decode())
