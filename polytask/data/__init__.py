"""Tables, catalogues, splits, labels and the training set as arrays; the features of a request."""
