"""Brings an exported bundle into a running InferenceService, and takes it back when it does not answer."""
