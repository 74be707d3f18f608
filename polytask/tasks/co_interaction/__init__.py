"""Kind `co_interaction`: the users who interact with the same items."""
