"""A local web page to look at recommendations with: it asks the recommender like any other client."""
