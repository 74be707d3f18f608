"""All pipelines by the name of their file."""

from pipelines.definition import Definition
from pipelines.train_and_deploy import train_and_deploy

PIPELINES: dict[str, Definition] = {"train_and_deploy": train_and_deploy}
