"""The python-based Triton backend. Triton loads `model.py` by its path; nothing here imports it."""
