"""The protocol of the server: inputs to requests, recommendations to outputs, as gRPC messages or JSON."""
