"""Kind `binary`: the probability of yes."""
