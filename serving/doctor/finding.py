"""What a check found."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class Finding:
    """`found` describes the state, `advice` what to do. A note is not an error; a fault is."""

    name: str
    status: Status
    found: str
    advice: str = ""


def ok(name: str, found: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", found)


def note(name: str, found: str, advice: str) -> Finding:
    """Something is missing that only some commands need, or that a command makes itself."""
    return Finding(name, "note", found, advice)


def fault(name: str, found: str, advice: str) -> Finding:
    """Something is wrong that keeps the project from working."""
    return Finding(name, "fault", found, advice)
