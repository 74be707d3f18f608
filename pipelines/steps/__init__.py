"""Steps of the pipelines: their definition, and the groups of steps that several pipelines share."""
