"""The command `polytask`. Its commands come from the packages that do the work, through entry points.

Exit codes: 0 done, 1 an error that its one line explains, 2 a wrong command line, 130 stopped by Ctrl-C.
"""

import sys
from importlib.metadata import entry_points

import typer
from rich.console import Console
from rich.markup import escape

from polytask.environment import prepare_environment
from polytask.errors import PolytaskError

COMMANDS = "polytask.commands"


def build_app() -> typer.Typer:
    """The application with every command that an installed package contributes to the group `polytask.commands`."""
    app = typer.Typer(
        help="One shared language-model encoder, many recommendation tasks.", no_args_is_help=True, add_completion=True
    )
    for point in sorted(entry_points(group=COMMANDS), key=lambda point: point.name):
        app.command(name=point.name)(point.load())
    return app


def main() -> None:
    """Run the command line; errors that a person can mend are printed in one line."""
    prepare_environment()
    try:
        build_app()(standalone_mode=True)
    except PolytaskError as error:
        Console(stderr=True).print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
