"""What the project measures about itself, as ratios from one run: `python -m benchmarks`, or `make bench`."""
