"""What is checked of a compiled pipeline before a cluster sees it."""

import re
from collections.abc import Iterator
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.kubernetes import kubernetes_executor_config_pb2
from kfp.pipeline_spec import pipeline_spec_pb2

from polytask.scenario.resources import amount

PINNED = re.compile(r"^[^@\s]+(:(?!latest$)[\w][\w.-]*|@sha256:[0-9a-f]{64})$")
LIMITS = ("resource_cpu_request", "resource_cpu_limit", "resource_memory_request", "resource_memory_limit")
# Names of variables with secret values, and secret values that are recognised by their form.
SECRET_NAME = re.compile(r"PASS(WORD|WD|PHRASE)?$|SECRET|TOKEN|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY", re.IGNORECASE)
SECRET_VALUES = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of GitHub": re.compile(r"\bgh[pousr]_[0-9A-Za-z]{36}\b"),
    "a token of Slack": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}|hooks\.slack\.com/services/\w"),
    "a JSON web token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@'\"{}]+:[^\s/@'\"{}]+@"),
    "a password": re.compile(
        r"\b(password|passwd|secret|token|api_key)\b['\"]?\s*[:=]\s*['\"][^'\"{}\s]{6,}['\"]", re.IGNORECASE
    ),
}


def problems_of(text: str) -> list[str]:
    """What is wrong with a compiled pipeline, a line each; none where a cluster may run it.

    Both documents have to parse strictly, an unknown field being an error; every step needs the same pinned image,
    requests and limits, and a time-out; nothing in it may look like a secret.
    """
    try:
        documents = list(yaml.safe_load_all(text))
    except yaml.YAMLError as error:
        return [f"is not YAML: {error}"]
    if len(documents) != 2:
        return [f"holds {len(documents)} documents; allowed: the pipeline and its platform settings"]
    spec, platform = pipeline_spec_pb2.PipelineSpec(), pipeline_spec_pb2.PlatformSpec()
    config = pipeline_spec_pb2.PipelineDeploymentConfig()
    try:
        json_format.ParseDict(documents[0], spec)
        json_format.ParseDict(documents[0].get("deploymentSpec", {}), config)
        json_format.ParseDict(documents[1], platform)
    except json_format.ParseError as error:
        return [f"is no pipeline: {error}"]
    return [
        *_of_images(config),
        *_of_resources(config),
        *_of_platform(config, platform),
        *_of_secrets(config, text),
    ]


def _of_images(config: Any) -> Iterator[str]:
    images = {name: executor.container.image for name, executor in sorted(config.executors.items())}
    loose = {name: image for name, image in images.items() if not PINNED.match(image)}
    for name, image in loose.items():
        yield f"{name}: image {image!r}; allowed: one with a tag other than latest, or a digest"
    if not loose and len(set(images.values())) > 1:
        yield f"images {', '.join(sorted(set(images.values())))}; allowed: the same for every step"


def _of_resources(config: Any) -> Iterator[str]:
    for name, executor in sorted(config.executors.items()):
        found = executor.container.resources
        missing = [limit.removeprefix("resource_") for limit in LIMITS if not getattr(found, limit)]
        if missing:
            yield f"{name}: no {', '.join(missing)}"
            continue
        for what in ("cpu", "memory"):
            request, limit = (getattr(found, f"resource_{what}_{kind}") for kind in ("request", "limit"))
            if amount(request) > amount(limit):
                yield f"{name}: requests {request} of {what}, more than its limit {limit}"


def _of_platform(config: Any, platform: Any) -> Iterator[str]:
    settings = platform.platforms["kubernetes"].deployment_spec.executors
    for name in sorted({*settings} - {*config.executors}):
        yield f"kubernetes: settings of {name!r}, which is no step"
    for name in sorted(config.executors):
        message = kubernetes_executor_config_pb2.KubernetesExecutorConfig()
        try:
            json_format.ParseDict(json_format.MessageToDict(settings[name]) if name in settings else {}, message)
        except json_format.ParseError as error:
            yield f"kubernetes: {name}: {error}"
            continue
        if not message.active_deadline_seconds:
            yield f"{name}: no time-out"


def _of_secrets(config: Any, text: str) -> Iterator[str]:
    for name, executor in sorted(config.executors.items()):
        for variable in executor.container.env:
            if variable.value and SECRET_NAME.search(variable.name):
                yield f"{name}: {variable.name} has its value in the file; allowed: a secret of the cluster"
    for what, form in SECRET_VALUES.items():
        if form.search(text):
            yield f"holds what looks like {what}"
