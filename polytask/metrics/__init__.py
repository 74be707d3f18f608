"""Metrics as NumPy functions of scores and labels, weighted by request."""
