"""Pipelines wire steps together; beside them what runs and compiles them."""
