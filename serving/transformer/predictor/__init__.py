"""Triton as the predictor: its pods, channels and messages, and whether they serve the contract's models."""
