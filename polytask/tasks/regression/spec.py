"""What serving and the scenario know about the kind `regression`."""

from polytask.tasks.shapes import Number


class Regression(Number):
    """A number."""

    name = "regression"
    summary = "a number."
    learning = "polytask.tasks.regression.learning:RegressionLearning"
    metrics = "polytask.tasks.regression.metrics:RegressionMetrics"
    baselines = ("mean", "user_mean", "tfidf_ridge")


KIND = Regression()
