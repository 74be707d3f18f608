"""Renders `manifests/` and checks what comes out, without a cluster."""
