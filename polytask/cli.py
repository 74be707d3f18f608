"""The command `polytask`. Its commands come from the packages that do the work, through entry points.

Exit codes: 0 done, 1 an error that its one line explains, 2 a wrong command line, 130 stopped by Ctrl-C.
"""

import sys
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.exceptions import Abort, TyperException

from polytask.environment import prepare_environment
from polytask.errors import PolytaskError

COMMANDS = "polytask.commands"
EXIT_CODES = "Exit codes: 0 done, 1 an error, which one line explains, 2 a wrong command line, 130 stopped by Ctrl-C."
WRONG_COMMAND_LINE, STOPPED = 2, 130
HELP = """One shared language-model encoder, many recommendation tasks.

Examples:
  polytask demo                 from data to printed answers
  polytask serve                servers and a web page, kept up
  polytask recommend --user 42  ask them
  polytask doctor               what this machine lacks
"""


def build_app(points: Iterable[EntryPoint] | None = None) -> typer.Typer:
    """The application with some commands; None means every one that an installed package contributes."""
    app = typer.Typer(help=HELP, epilog=EXIT_CODES, no_args_is_help=True, add_completion=True)
    found = entry_points(group=COMMANDS) if points is None else points
    for point in sorted(found, key=lambda point: point.name):
        command: Callable[..., Any] | typer.Typer = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name, epilog=EXIT_CODES)
        else:
            app.command(name=point.name, epilog=EXIT_CODES)(command)
    return app


def main() -> None:
    """Run the command line; errors that a person can mend are printed in one line."""
    prepare_environment()
    try:
        code = build_app()(prog_name="polytask", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "polytask"
        _fail(f"{error.format_message()} See: {path} --help", WRONG_COMMAND_LINE)
    except PolytaskError as error:
        _fail(str(error), 1)
    except (KeyboardInterrupt, Abort):
        sys.exit(STOPPED)


def _fail(message: str, code: int) -> None:
    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(code)
