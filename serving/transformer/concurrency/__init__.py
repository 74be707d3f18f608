"""Deadlines, admission, batching, threads and caches, each with a bound."""
