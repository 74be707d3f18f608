"""The command `polytask`. Its commands come from the packages that do the work, through entry points.

Exit codes: 0 done, 1 an error that its one line explains, 2 a wrong command line, 130 Ctrl-C, 143 SIGTERM.
"""

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup, TyperOption
from typer.exceptions import Abort, TyperException

from polytask import __version__
from polytask.environment import prepare_environment
from polytask.errors import PolytaskError
from polytask.missing_package import MissingPackageError, missing_package
from polytask.progress import VERBOSITY, is_verbose, log_to_stderr
from polytask.renamed import new_option

COMMANDS = "polytask.commands"
EXIT_CODES = "Exit codes: 0 done, 1 an error, which one line explains, 2 a wrong command line, 130 Ctrl-C, 143 SIGTERM."
WRONG_COMMAND_LINE, STOPPED = 2, 130
# The commands by purpose, in the order of the help; a command without a panel is listed last.
PANELS = {
    "Start": ("demo", "sample-data", "check", "doctor"),
    "Serve": ("serve", "recommend", "explain", "console"),
    "Evaluate and update": ("evaluate", "models", "add-task", "refresh-catalogue", "fine-tune", "forget"),
    "Pipelines and clusters": ("run", "compile", "submit", "render", "rollout"),
}
OTHERS = "Other commands"
_PANEL = {name: panel for panel, names in PANELS.items() for name in names}
_PLACE = {name: place for place, name in enumerate(_PANEL)}
HELP = """One shared language-model encoder, many recommendation tasks.

Examples:
  polytask demo                 run the whole chain, from data to recommendations
  polytask serve                run the servers and a web page until Ctrl-C
  polytask recommend --user 42  request recommendations from the servers
  polytask check --scenario x   validate a scenario against its tables
  polytask doctor               list the requirements that this machine does not meet
"""


def _choose_verbosity(context: typer.Context, option: typer.CallbackParam, chosen: bool) -> None:
    if chosen:
        # On `polytask --quiet models`, too, the two contexts share `meta`.
        if context.meta.setdefault(VERBOSITY, option.name) != option.name:
            raise typer.BadParameter("--quiet and --verbose exclude each other.")
        os.environ[VERBOSITY] = str(option.name)
        log_to_stderr()


def _verbosity(
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            callback=_choose_verbosity,
            is_eager=True,
            expose_value=False,
            help="Print results and errors only.",
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            callback=_choose_verbosity,
            is_eager=True,
            expose_value=False,
            help="Print debug logs, the output of pipeline steps and the traceback of an error, too.",
        ),
    ] = False,
) -> None:
    """The options of every command."""


@cache
def _verbosity_options() -> list[TyperOption]:
    app = typer.Typer(add_completion=False)
    app.command()(_verbosity)
    return [option for option in typer.main.get_command(app).params if isinstance(option, TyperOption)]


class CommonOptions:
    """A command with `--quiet` and `--verbose`; the help shows no type of a switch, and of a list that it repeats."""

    def get_params(self, ctx: Any) -> list[Any]:
        """The options, those of all commands and `--help` too."""
        *own, help_option = super().get_params(ctx)  # type: ignore[misc]
        params: list[Any] = [*own, *_verbosity_options(), help_option]
        for option in params:
            if isinstance(option, TyperOption) and option.metavar is None and (option.is_flag or option.multiple):
                option.metavar = "" if option.is_flag else "<text>..."
        return params


class Command(CommonOptions, TyperCommand):
    """A command."""


class Group(CommonOptions, TyperGroup):
    """Commands, shown in the order of their panels."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return sorted(self.commands, key=lambda name: (_PLACE.get(name, len(_PLACE)), name))


def _print_version(wanted: bool) -> None:
    if wanted:
        Console().print(f"polytask {__version__}", highlight=False)
        raise typer.Exit


def points_of(words: Sequence[str]) -> Iterable[EntryPoint]:
    """The entry points that a command line needs: that of its command alone, whose packages are then all it imports."""
    points = entry_points(group=COMMANDS)
    first = next((word for word in words if not word.startswith("-")), None)
    named = [point for point in points if point.name == first]
    return named or points


def build_app(points: Iterable[EntryPoint] | None = None) -> typer.Typer:
    """The application with some commands; None means those that the command line needs (`points_of`)."""
    app = typer.Typer(cls=Group, help=HELP, epilog=EXIT_CODES, no_args_is_help=True, add_completion=True)

    @app.callback(cls=Group, help=HELP, epilog=EXIT_CODES, no_args_is_help=True)
    def options(
        version: Annotated[
            bool,
            typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
        ] = False,
    ) -> None:
        """Options of `polytask` itself."""

    found = points_of(sys.argv[1:]) if points is None else points
    for point in found:
        try:
            command: Callable[..., Any] | typer.Typer = point.load()
        except ModuleNotFoundError as error:
            missing = missing_package(f"polytask {point.name}", error)
            if missing is None:
                raise
            _add_unavailable(app, point.name, missing)
            continue
        panel = _PANEL.get(point.name, OTHERS)
        if isinstance(command, typer.Typer):
            for registered in command.registered_commands:
                registered.cls, registered.epilog = Command, EXIT_CODES
            app.add_typer(command, cls=Group, name=point.name, epilog=EXIT_CODES, rich_help_panel=panel)
        else:
            app.command(cls=Command, name=point.name, epilog=EXIT_CODES, rich_help_panel=panel)(command)
    return app


def _add_unavailable(app: typer.Typer, name: str, missing: MissingPackageError) -> None:
    """Add a command whose packages are not installed: whatever its options, it fails with the error."""
    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    summary, panel = f"Not installed: needs {missing.needed}.", _PANEL.get(name, OTHERS)

    @app.command(cls=Command, name=name, help=summary, context_settings=settings, rich_help_panel=panel)
    def fail() -> None:
        raise missing


def main() -> None:
    """Run the command line; errors that the user can fix are printed in one line."""
    prepare_environment()
    try:
        code = build_app()(prog_name="polytask", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "polytask"
        if not error.format_message():  # no command was given, and the help is already printed
            sys.exit(WRONG_COMMAND_LINE)
        _fail(f"{_usage_error(error, path)} See: {path} --help", WRONG_COMMAND_LINE)
    except PolytaskError as error:
        if is_verbose():
            traceback.print_exc()
        _fail(str(error), error.exit_code)
    except ModuleNotFoundError as error:  # a command that imports where it needs
        missing = missing_package(" ".join(["polytask", *sys.argv[1:2]]), error)
        if missing is None:
            raise
        _fail(str(missing), missing.exit_code)
    except (KeyboardInterrupt, Abort):
        sys.exit(STOPPED)


def _usage_error(error: TyperException, path: str) -> str:
    option = getattr(error, "option_name", "")
    new = new_option(path.partition(" ")[2], option)
    return f"{option} was renamed; use {new}." if new else error.format_message()


def _fail(message: str, code: int) -> None:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(code)
