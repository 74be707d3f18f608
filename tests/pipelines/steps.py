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
# What depends on more than its inputs, or changes more than its outputs.
NEVER_CACHED = {"fingerprint", "compare", "gate", "deploy", "smoke"}
