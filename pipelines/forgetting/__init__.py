"""What `polytask forget` does in each place that stores personal data (`polytask.personal.places`)."""
