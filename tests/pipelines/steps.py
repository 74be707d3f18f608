"""The steps of `train-and-deploy`, as the tests expect them."""

STEPS = {
    "fingerprint",
    "ingest",
    "build-features",
    "build-training-set",
    "train",
    "evaluate",
    "compare",
    "gate",
    "export",
    "deploy",
    "smoke",
}
# The additional steps of a cluster: the outcome at the end, and the charts of each task in a loop.
CLUSTER_STEPS = {"report", "show-task"}
LOOP = "for-loop-2"
# What depends on more than its inputs, or changes more than its outputs.
NEVER_CACHED = {"fingerprint", "build-features", "compare", "gate", "deploy", "smoke"}
