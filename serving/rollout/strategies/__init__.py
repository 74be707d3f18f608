"""How a new version replaces the old one: in place, second service, canary, first model."""
