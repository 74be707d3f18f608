"""Kind `multiclass`: one of several classes."""
