"""Serving: the Triton repository and local runtime, the KServe transformer, the client, the commands."""
