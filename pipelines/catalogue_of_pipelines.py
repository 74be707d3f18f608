"""All pipelines by name, as files and commands call them."""

from pipelines.batch_recommend import batch_recommend
from pipelines.catalogue_pipeline import refresh_catalogue
from pipelines.definition import Definition
from pipelines.refresh_features import refresh_features
from pipelines.task_pipeline import add_task
from pipelines.train_and_deploy import train_and_deploy

PIPELINES: dict[str, Definition] = {
    "train_and_deploy": train_and_deploy,
    "refresh_features": refresh_features,
    "add_task": add_task,
    "refresh_catalogue": refresh_catalogue,
    "batch_recommend": batch_recommend,
}
