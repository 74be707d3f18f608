"""Runs on a Kubeflow Pipelines server: arguments, submission, progress."""
