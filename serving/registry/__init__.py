"""Registries that are reached over a network, and which one a setting names."""
