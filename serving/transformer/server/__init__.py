"""KServe's model server with our limits, health checks and shutdown."""
