"""Why a step failed, out of the lines that it printed: an error of ours, another one, or a process that was killed."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from polytask import PACKAGES
from polytask.errors import PolytaskError

TRACEBACK = "Traceback (most recent call last):"
LAST_LINES = 15
# The message of a shell for a command that a signal has ended.
ENDED = {words: number for number in signal.valid_signals() if (words := signal.strsignal(number))}


class PipelineError(PolytaskError):
    """A step of the pipeline failed. The last line has the step, the path of its log, and the reason."""


@dataclass(frozen=True)
class Cause:
    """Why a step failed, in one line; `known` if it is an error that the user can fix."""

    text: str
    known: bool


def failure(step: str, lines: Sequence[str], log: object) -> str:
    """The message of a failed step: its last lines if the error is not known, and the cause in the last one."""
    cause = cause_of(lines)
    shown = [] if cause.known else ["the last lines were:", *list(lines)[-LAST_LINES:]]
    return "\n".join([*shown, f"step {step!r} failed (log: {log}): {cause.text}"])


def cause_of(lines: Sequence[str]) -> Cause:
    """The cause of a failure from the lines (without line breaks) that a step printed up to its end."""
    last = lines[-1].removesuffix(" (core dumped)") if lines else ""
    if last in ENDED:
        name = signal.Signals(ENDED[last]).name
        hint = "; the system does so when memory runs out" if name == "SIGKILL" else ""
        return Cause(f"its process was ended by {name}{hint}", known=name in ("SIGKILL", "SIGTERM"))
    starts = [number for number, line in enumerate(lines) if line == TRACEBACK]
    raised = _after_frames(lines[starts[-1] + 1 :]) if starts else []
    if not raised:
        return Cause("its process ended without an error of its own: was it killed?", known=False)
    text = " ".join(line.strip() for line in raised)
    name, _, message = text.partition(": ")
    if name.split(".")[0] in PACKAGES:
        return Cause(message or name, known=True)
    return Cause(text, known=False)


def _after_frames(lines: Sequence[str]) -> Sequence[str]:
    """From the exception's own line on: the frames before it are indented."""
    first = next((number for number, line in enumerate(lines) if not line.startswith(" ")), len(lines))
    return lines[first:]
