"""How a model is fine-tuned unless told otherwise. Without imports, so that a command line can show it at once."""

EPOCHS = 3
# A fifth of the default rate of a training from fresh weights.
LEARNING_RATE = 4e-4
