"""Vectors of request texts: from Triton's text encoder, cached, and filled before the first request."""
