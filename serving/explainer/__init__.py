"""The KServe explainer: what in a user's history and in the request's text moved each task's first answer."""
