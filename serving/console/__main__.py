"""Starts the console as a process of its own: `polytask console` without the rest of the command line."""

import sys

import typer

from polytask.errors import PolytaskError
from serving.console.cli import console

if __name__ == "__main__":
    try:
        typer.run(console)
    except PolytaskError as error:
        sys.exit(f"error: {error}")
