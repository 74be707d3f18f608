"""Evaluation of the predictions: metrics per task kind, and the baselines that they are compared with."""
