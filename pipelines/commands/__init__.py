"""The commands of `polytask` that run or compile pipelines, and those on a workspace."""
