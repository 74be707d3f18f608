"""The multi-task model in PyTorch: encoders, item table, fusion, heads, losses."""
