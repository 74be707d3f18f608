"""How good the answers are: metrics per task kind, and the baselines they stand beside."""
