"""Baselines of the tasks. They learn from training events alone; the kind of a task names those of its tasks."""

from polytask.baselines.candidate import Baseline, Candidate

__all__ = ["Baseline", "Candidate"]
