"""Incremental updates of a trained model: new tasks, new items, more training."""
