"""The training loop, its batches, checkpoints and resume state, on one or several processes."""
