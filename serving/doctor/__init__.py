"""Checks whether this machine and the project on it are ready, and says what to do where they are not."""
