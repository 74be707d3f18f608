"""The KServe explainer: each task's prediction explained by history items and request text (occlusion)."""
