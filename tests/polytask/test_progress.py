"""`--quiet` and `--verbose` are options of every command: progress, debug logs and tracebacks follow them."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from polytask import PACKAGES, cli
from polytask.errors import DataError
from polytask.progress import QUIET, VERBOSE, VERBOSITY, log_level, log_to_stderr, log_to_stdout, progress_console
from tests.polytask.test_cli import POINTS, WIDE

LOGGER = logging.getLogger("polytask.test_progress")


def speak(fail: bool = False) -> None:
    """Print a result, progress and two log lines.

    Examples:
      polytask speak
    """
    progress_console().print("working")
    LOGGER.debug("a detail")
    Console(file=sys.stdout).print("the result")
    if fail:
        raise DataError("table x: no rows")


group = typer.Typer()


@group.callback()
def callback() -> None:
    """A group of commands."""


group.command("speak")(speak)


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv(VERBOSITY, "")
    levels = {name: logging.getLogger(name).level for name in PACKAGES}
    handlers = {name: [*logging.getLogger(name).handlers] for name in PACKAGES}
    yield
    for name in PACKAGES:
        logging.getLogger(name).setLevel(levels[name])
        logging.getLogger(name).handlers[:] = handlers[name]


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    points = [EntryPoint(name, f"{__name__}:{name}", cli.COMMANDS) for name in ("speak", "group")]
    build = cli.build_app
    monkeypatch.setattr(cli, "build_app", lambda: build(points))
    monkeypatch.setattr("sys.argv", ["polytask", *words])
    with pytest.raises(SystemExit):
        cli.main()
    monkeypatch.setattr(cli, "build_app", build)
    printed = capsys.readouterr()
    return printed.out, printed.err


def test_results_are_printed_always_and_progress_unless_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capsys, "speak") == ("working\nthe result\n", "")
    assert run(monkeypatch, capsys, "speak", "--quiet") == ("the result\n", "")


@pytest.mark.parametrize(
    "words",
    [("speak", "--verbose"), ("-v", "speak"), ("group", "speak", "-v"), ("group", "-v", "speak")],
)
def test_debug_logs_are_printed_on_standard_error_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    out, error = run(monkeypatch, capsys, *words)
    assert (out, error) == ("working\nthe result\n", "polytask.test_progress: a detail\n")


def test_an_error_has_its_traceback_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, capsys, "speak", "--fail", "-q") == ("the result\n", "error: table x: no rows\n")
    error = run(monkeypatch, capsys, "speak", "--fail", "-v")[1]
    assert "Traceback" in error and "in speak" in error
    assert error.endswith("error: table x: no rows\n")


def test_both_at_once_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out, error = run(monkeypatch, capsys, "speak", "-q", "-v")
    assert out == "" and "--quiet and --verbose exclude each other. See: polytask speak --help" in error


def test_a_second_set_up_prints_no_line_twice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log_to_stdout()
    log_to_stderr()
    log_to_stdout()
    LOGGER.info("once")
    assert capsys.readouterr() == ("once\n", "")
    levels = {}
    for value in ("", QUIET, VERBOSE):
        monkeypatch.setenv(VERBOSITY, value)
        levels[value] = log_level()
    assert levels == {"": logging.INFO, QUIET: logging.WARNING, VERBOSE: logging.DEBUG}


def command_paths() -> list[list[str]]:
    root = typer.main.get_command(cli.build_app(POINTS))
    paths: list[list[str]] = [[]]
    for name, command in root.commands.items():
        paths += [[name], *([name, sub] for sub in getattr(command, "commands", {}))]
    return paths


def test_the_help_of_every_command_has_both() -> None:
    app = cli.build_app(POINTS)
    paths = command_paths()
    assert ["models", "rollback"] in paths and ["rollout"] in paths
    for words in paths:
        shown = CliRunner().invoke(app, [*words, "--help"], env=WIDE).output
        assert "--quiet" in shown and "--verbose" in shown, words


def complete(line: str) -> list[str]:
    """What bash offers for the last word of a line."""
    environment = {"_POLYTASK_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    program = Path(sys.executable).with_name("polytask")
    done = subprocess.run([program], env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout.split()


def test_the_installed_program_completes_commands_and_options() -> None:
    assert complete("polytask re") == ["recommend", "refresh-catalogue", "render"]
    assert {"--recent-item", "--exclude-item", "--disliked-item"} <= set(complete("polytask recommend --"))
    assert {"--quiet", "--verbose"} <= set(complete("polytask recommend --"))
    assert complete("polytask models ro") == ["rollback"]


def test_the_script_of_the_completion_is_printed() -> None:
    shown = CliRunner().invoke(cli.build_app(POINTS), ["--show-completion", "bash"], prog_name="polytask")
    assert shown.exit_code == 0
    assert "_POLYTASK_COMPLETE=complete_bash" in shown.output
