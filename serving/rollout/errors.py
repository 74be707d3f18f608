"""What can go wrong on the way into the cluster."""

from polytask.errors import ServingError


class RolloutError(ServingError):
    """The model could not be rolled out. The message has the reason, and what was done about it."""


class Refused(RolloutError):
    """The API server refuses an object: unknown field, wrong value, missing right."""


class NotThere(Refused):
    """The object is not there, or the cluster knows no objects of this kind."""


class Conflicting(RolloutError):
    """Fields of the deploy step were set by someone else."""


class NotServing(RolloutError):
    """A revision did not become ready, or failed a smoke test."""


class RolloutStopped(RolloutError):
    """SIGTERM or SIGINT ended the rollout; the log and the Event report what was restored.

    The exit code is that of a shell for a process that a signal ended: 143 or 130.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number
