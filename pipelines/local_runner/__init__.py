"""Runs a pipeline on this machine with kfp's local runner: workspace, cache, interrupts, failures."""
