"""Small made-up tables for the scenarios of the guides: the same seed gives the same bytes."""
