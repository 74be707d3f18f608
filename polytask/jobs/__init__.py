"""What a step of a pipeline does, as one function each: paths in, files out."""
