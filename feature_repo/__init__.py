"""The Feast side: sources, definitions, store, training set and pushes, all derived from the scenario."""

import os

# Feast reads this when it is imported; no part of this package may phone home.
os.environ.setdefault("FEAST_USAGE", "False")
