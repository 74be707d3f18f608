"""A local web page that shows recommendations: it calls the recommender like any other client."""
