"""The steps of `train-and-deploy`, as the tests expect them."""

STEPS = {
    "ingest",
    "build-features",
    "build-training-set",
    "train",
    "evaluate",
    "compare",
    "gate",
    "export",
    "deploy",
}
# What depends on more than its inputs, or changes more than its outputs.
NEVER_CACHED = {"compare", "gate", "deploy"}
