"""Servers as child processes on this machine: Triton, transformer, explainer and console."""
