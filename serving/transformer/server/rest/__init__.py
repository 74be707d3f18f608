"""The REST port: routes, bodies and connections within limits."""
