"""The inference service on the cluster: its revisions, deployments, routes, readiness, and the lease of a rollout."""
