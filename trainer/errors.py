"""What can go wrong with a training on several machines."""

from polytask.errors import TrainingError


class JobFailed(TrainingError):
    """The TrainJob has ended without a model. It is left there, to be looked at."""


class JobGone(TrainingError):
    """The TrainJob was deleted while it was waited for."""


class Stopped(SystemExit):
    """The step was requested to end."""
