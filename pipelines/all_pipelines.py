"""All pipelines by name, as files and commands call them."""

from pipelines.add_task import add_task
from pipelines.batch_recommend import batch_recommend
from pipelines.refresh_catalogue import refresh_catalogue
from pipelines.refresh_features import refresh_features
from pipelines.steps.definition import Definition
from pipelines.train_and_deploy import train_and_deploy

PIPELINES: dict[str, Definition] = {
    "train_and_deploy": train_and_deploy,
    "refresh_features": refresh_features,
    "add_task": add_task,
    "refresh_catalogue": refresh_catalogue,
    "batch_recommend": batch_recommend,
}
