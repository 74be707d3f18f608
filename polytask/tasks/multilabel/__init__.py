"""Kind `multilabel`: a score per class, of which several may be true."""
