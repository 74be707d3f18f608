"""What the project measures about itself, as ratios from one run."""
