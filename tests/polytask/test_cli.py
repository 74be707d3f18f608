"""The command line as a whole: every command has help with examples that parse, and errors are one line."""

import inspect
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from polytask import cli
from polytask.errors import DataError
from polytask.renamed import OPTIONS

ROOT = Path(__file__).resolve().parents[2]
# As pyproject.toml has them: the installed package may be older.
ENTRIES = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][cli.COMMANDS]
POINTS = [EntryPoint(name, place, cli.COMMANDS) for name, place in ENTRIES.items()]
WIDE = {"COLUMNS": "160", "TERMINAL_WIDTH": "160", "NO_COLOR": "1"}


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    return cli.build_app(POINTS)


def examples(text: str) -> list[str]:
    _, _, after = text.partition("Examples:\n")
    return [line.strip() for line in after.splitlines() if line.strip()]


def test_the_help_names_every_command_and_the_exit_codes(app: typer.Typer):
    shown = CliRunner().invoke(app, ["--help"], env=WIDE)
    assert shown.exit_code == 0
    assert set(ENTRIES) <= set(re.findall(r"[a-z][a-z-]+", shown.output))
    assert cli.EXIT_CODES in shown.output
    assert examples(cli.HELP)[0].startswith("polytask demo ")


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_every_command_says_what_it_does(app: typer.Typer, name: str):
    shown = CliRunner().invoke(app, [name, "--help"], env=WIDE)
    assert shown.exit_code == 0
    lines = [line.strip() for line in shown.output.splitlines()]
    command = typer.main.get_command(app).commands[name]
    given = examples(inspect.getdoc(command.callback))
    assert given, "has no examples"
    assert set(given) <= set(lines), "an example is wrapped or missing in the help"
    assert cli.EXIT_CODES in shown.output
    for option in command.params:
        assert option.name == "help" or len(option.help or "") > 10, f"{option.name} has no help"


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_every_example_is_a_right_command_line(app: typer.Typer, name: str):
    command = typer.main.get_command(app).commands[name]
    for example in examples(inspect.getdoc(command.callback)):
        words = shlex.split(example)
        assert words[:2] == ["polytask", name]
        assert len(example) <= 90
        command.make_context(name, words[2:])  # raises for an unknown option or a wrong value


def test_the_help_shows_no_type_of_a_switch_and_that_lists_are_repeated(app: typer.Typer):
    for words in (["recommend"], ["models"], ["models", "rollback"], []):
        shown = CliRunner().invoke(app, [*words, "--help"], env=WIDE)
        assert "<bool>" not in shown.output
        assert "--help" in shown.output
    assert "<text>..." in CliRunner().invoke(app, ["recommend", "--help"], env=WIDE).output


def test_the_help_groups_the_commands(app: typer.Typer):
    shown = CliRunner().invoke(app, ["--help"], env=WIDE).output
    places = [shown.index(f"│ {name} ") for names in cli.PANELS.values() for name in names]
    assert places == sorted(places)
    assert {name for names in cli.PANELS.values() for name in names} == set(ENTRIES)
    assert cli.OTHERS not in shown


def test_a_subcommand_has_examples_and_exit_codes_too(app: typer.Typer):
    shown = CliRunner().invoke(app, ["models", "rollback", "--help"], env=WIDE).output
    assert "polytask models rollback --to" in shown
    assert cli.EXIT_CODES in shown


def test_no_command_prints_the_help_and_no_empty_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    build = cli.build_app
    monkeypatch.setattr(cli, "build_app", lambda: build(POINTS))
    monkeypatch.setattr("sys.argv", ["polytask"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == cli.WRONG_COMMAND_LINE
    printed = capsys.readouterr()
    assert "Usage: polytask" in printed.out + printed.err
    assert "error:" not in printed.out + printed.err


def test_a_shell_completes_commands_and_options(app: typer.Typer):
    for line, expected in (("polytask rec", "recommend"), ("polytask serve --cons", "--console")):
        shell = {
            "_POLYTASK_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split()) - 1),
        }
        shown = CliRunner().invoke(app, [], env=shell, prog_name="polytask")
        assert expected in shown.output.split()


RENAMED = [(command, old, new) for command, names in OPTIONS.items() for old, new in names.items()]


@pytest.mark.parametrize(("command", "old", "new"), RENAMED)
def test_the_error_of_an_old_option_names_the_new_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, command: str, old: str, new: str
):
    build = cli.build_app
    monkeypatch.setattr(cli, "build_app", lambda: build(POINTS))
    monkeypatch.setattr("sys.argv", ["polytask", command, old, "x"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == cli.WRONG_COMMAND_LINE
    assert capsys.readouterr().err == f"error: {old} was renamed; use {new}. See: polytask {command} --help\n"
    known = typer.main.get_command(build(POINTS)).commands[command].params
    assert new.partition(",")[0] in [word for option in known for word in (*option.opts, *option.secondary_opts)]


def fails(point: str = "x") -> None:
    raise {"data": DataError("table x: is empty, allowed: rows"), "stop": KeyboardInterrupt()}[point]


def test_a_stop_while_the_commands_load(monkeypatch: pytest.MonkeyPatch):
    def build() -> typer.Typer:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "build_app", build)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == cli.STOPPED


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--point", "data"], 1, "error: table x: is empty, allowed: rows\n"),
        (["--point", "stop"], 130, ""),
        (["--pint", "data"], 2, "error: No such option: --pint"),
    ],
)
def test_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, words: list[str], code: int, message: str
):
    def build() -> typer.Typer:
        app = typer.Typer()
        app.command()(fails)
        return app

    monkeypatch.setattr(cli, "build_app", build)
    monkeypatch.setattr("sys.argv", ["polytask", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == code
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert len(error.splitlines()) <= 1
    assert code != 2 or "See: polytask --help" in error


def test_the_version_is_that_of_the_package(app: typer.Typer):
    shown = CliRunner().invoke(app, ["--version"], env=WIDE)
    assert (shown.exit_code, shown.output.split()) == (0, ["polytask", version("polytask")])


def test_a_command_imports_the_package_of_no_other():
    script = "import sys; from polytask import cli; sys.argv = ['polytask', 'sample-data', '--help']; cli.main()"
    watch = f"import atexit, sys; atexit.register(lambda: print(*sorted(sys.modules))); {script}"
    done = subprocess.run([sys.executable, "-c", watch], capture_output=True, text=True, timeout=60, check=False)
    modules = done.stdout.splitlines()[-1].split()
    assert done.returncode == 0 and "polytask.samples.write" in modules
    assert {name.partition(".")[0] for name in modules} & {"pipelines", "serving", "kfp", "feast", "torch"} == set()
