"""Baselines of every kind of task, each tuned on the validation requests; they learn from training events alone."""

from polytask.evaluation.baselines.candidate import Baseline, Candidate
from polytask.evaluation.baselines.tuning import Tuned, baselines_of, tuned_baselines

__all__ = ["Baseline", "Candidate", "Tuned", "baselines_of", "tuned_baselines"]
