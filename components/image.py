"""The image every step runs in. One constant: a release changes it here and nowhere else."""

IMAGE = "ghcr.io/polytask/polytask-python:0.1.0"
