"""Triton: the model repository's configuration and a real Triton server on this machine."""
