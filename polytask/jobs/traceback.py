"""Finds in the output of a training why it failed."""

import re

# How a traceback ends; torchrun's own summary comes after those of the processes.
_CAUSE = re.compile(r"(?:\[rank\d+\]: ?)?((?:\w+\.)*\w+(?:Error|Exception|Interrupt): .+)")


def cause_in(line: str) -> str | None:
    """The error that a line ends a traceback with; None for any other line."""
    found = _CAUSE.match(line.strip())
    return found[1] if found else None
