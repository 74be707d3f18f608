"""Steps of the pipelines: one file each, typed inputs and outputs, one call into the library."""
