"""The image that every step runs in."""

from polytask import __version__

IMAGE = f"ghcr.io/polytask/polytask-python:{__version__}"
