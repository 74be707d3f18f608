"""The commands of `polytask` that start servers and send requests to them."""
