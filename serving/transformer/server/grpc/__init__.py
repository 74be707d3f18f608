"""The gRPC port: messages within limits, health and reflection."""
