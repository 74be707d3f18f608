"""What a check found."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "note", "fault"]


@dataclass(frozen=True)
class CheckResult:
    """`found` describes the state, `advice` what to do. A note is not an error; a fault is."""

    name: str
    status: Status
    found: str
    advice: str = ""


def ok(name: str, found: str) -> CheckResult:
    """All is well."""
    return CheckResult(name, "ok", found)


def note(name: str, found: str, advice: str) -> CheckResult:
    """Something is missing that only some commands need, or that a command makes itself."""
    return CheckResult(name, "note", found, advice)


def fault(name: str, found: str, advice: str) -> CheckResult:
    """Something is wrong that keeps the project from working."""
    return CheckResult(name, "fault", found, advice)
