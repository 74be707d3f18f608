"""Kind `retrieval`: the best items of a catalogue for the next event."""
