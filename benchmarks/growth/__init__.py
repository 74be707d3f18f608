"""How time and memory grow with the number of events, on made-up tables of MovieLens' shape."""
