"""Which versions of a model there are, what they were made of, and which of them is live."""
