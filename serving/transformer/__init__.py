"""The KServe transformer: user ids in, ranked external ids out; features from Feast, scores from Triton."""
