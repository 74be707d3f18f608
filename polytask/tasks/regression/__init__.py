"""Kind `regression`: a number."""
