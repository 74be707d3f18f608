"""Pipelines that connect steps, and the code that runs and compiles them."""
