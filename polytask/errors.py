"""Errors a person can act on: they say what is wrong, where, and what is allowed.

The command line prints them as one line without a traceback; anything else is a bug and keeps its traceback.
"""


class PolytaskError(Exception):
    """Base of every error that the user of Polytask can fix. `exit_code` is that of a command which it ends."""

    exit_code = 1


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
    """A model cannot be written in the form that was asked for."""


class RequestError(PolytaskError):
    """A request field has the wrong name, type, shape or value. `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class ServingError(PolytaskError):
    """A local server could not be installed, started or reached."""
