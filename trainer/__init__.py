"""Trains on several machines: as a TrainJob of Kubeflow Trainer, made by the train step and followed to its end."""
