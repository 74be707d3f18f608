"""Polytask: one shared language-model encoder, many recommendation tasks.

The library knows scenarios, models and contracts. It refuses to know Feast, Kubeflow Pipelines and KServe: those live
in `feature_repo/`, `components/`, `pipelines/` and `serving/`, which import this package and never the other way round.
"""

# The package, the images and the compiled pipelines take their version from here; a test compares the manifests.
__version__ = "0.2.0"

# The packages of this project, all of whose code decides what a pipeline makes.
PACKAGES = ("polytask", "feature_repo", "serving", "trainer", "components", "pipelines")
