"""Online features of users: read from Feast's online store within a deadline, or left out while it is unavailable."""
