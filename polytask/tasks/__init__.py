"""The kinds of tasks: one folder per kind, with `spec.py`, `learning.py` and `metrics.py`."""
