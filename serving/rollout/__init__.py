"""Rolls out an exported bundle to an InferenceService; rolls back if smoke tests fail."""
