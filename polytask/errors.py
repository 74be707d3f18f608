"""Errors that the user can act on: they report what is wrong, where, and what is allowed.

The command line prints them as one line without a traceback; anything else is a bug and keeps its traceback.
"""


class PolytaskError(Exception):
    """Base of every error that the user of Polytask can fix. `exit_code` is that of a command which it ends."""

    exit_code = 1


def printable(text: str) -> str:
    """`text` with each half of a surrogate pair, which UTF-8 cannot encode, written as its escape sequence."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class ScenarioError(PolytaskError):
    """The scenario file is not valid."""


class DataError(PolytaskError):
    """The source data is missing, malformed, or worse than the scenario allows."""


class DiskError(PolytaskError):
    """A file cannot be written: the disk is full, or the size that is allowed is reached."""


class TrainingError(PolytaskError):
    """Processes that train together failed, or did not end in time."""


class ContractError(PolytaskError):
    """An artefact does not match the contract it is used with."""


class ExportError(PolytaskError):
    """A model cannot be exported in the requested form."""


class RequestError(PolytaskError):
    """A request field has the wrong name, type, shape or value. `field` names it.

    Both are valid UTF-8, whatever the request held: a name with half of a surrogate pair could not be sent back.
    """

    def __init__(self, field: str, message: str) -> None:
        self.field = printable(field)
        super().__init__(f"{self.field}: {printable(message)}")


class ServingError(PolytaskError):
    """A local server could not be installed, started or reached."""
