"""Checks whether this machine and the project on it are ready, and reports how to fix what is not."""
