"""The defaults of fine-tuning, in a module without imports, so that the command line can show them quickly."""

EPOCHS = 3
# A fifth of the default rate of a training from fresh weights.
LEARNING_RATE = 4e-4
