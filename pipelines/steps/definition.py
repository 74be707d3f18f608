"""How pipelines are defined: a function that connects steps, built separately for this machine and for a cluster.

On a cluster a step gets the CPU, memory, accelerators and hours of the scenario that the pipeline is compiled for, and
steps that read or write external systems are retried; in any case the step `report` reports the outcome. On this
machine none of it applies: a wrong file is still wrong at the third attempt, and the terminal shows the outcome.
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from kfp import dsl, kubernetes
from kfp.dsl.graph_component import GraphComponent
from kfp.dsl.pipeline_task import PipelineTask

from components.report import report
from polytask.jobs.notify import REPORT_URL
from polytask.scenario.schema import Resources, StepResources

Kind = Literal["light", "data", "model", "training"]

# The address that a chat program gives out is a secret: who knows it may write.
REPORT_SECRET = "polytask-report"  # noqa: S105 - the name of a Kubernetes secret, not what it holds
SECRET_KEY = "url"  # noqa: S105
RETRIES = 3
BACKOFF = "30s"
BACKOFF_FACTOR = 2.0
BACKOFF_MOST = "600s"
NAME = "{scenario}"


@dataclass(frozen=True)
class ClusterSettings:
    """What a pipeline is compiled for: the scenario that is its default, and what the steps request from the cluster.

    `scenario` is a name in the image or the path of a file; `name` is what that scenario calls itself.
    """

    scenario: str
    name: str
    resources: Resources


_CLUSTER: ContextVar[ClusterSettings | None] = ContextVar("cluster", default=None)


class Definition:
    """A pipeline. Calling it with its arguments runs it on this machine, after `kfp.local.init`."""

    def __init__(self, function: Callable[..., Any], name: str, title: str, description: str) -> None:
        self.name = name
        self.title = title
        self.description = description
        self._function = function

    def __call__(self, **arguments: Any) -> Any:
        """Run on this machine."""
        return self._local(**arguments)

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """Its parameters by name."""
        return dict(inspect.signature(self._function).parameters)

    def compiled_for(self, cluster: ClusterSettings) -> GraphComponent:
        """The pipeline with the cluster's settings on every step, and the report of its outcome at the end."""

        def steps(*positional: Any, **named: Any) -> None:
            arguments = inspect.signature(self._function).bind(*positional, **named).arguments
            with _settings(cluster):
                outcome = step(report(pipeline=self.name, scenario=arguments["scenario"]), "Report", "light")
                outcome.set_caching_options(False)
                kubernetes.use_secret_as_env(outcome, REPORT_SECRET, {SECRET_KEY: REPORT_URL}, optional=True)
                with dsl.ExitHandler(outcome, name=self.title):
                    self._function(**arguments)

        return self._built(steps, cluster.scenario, cluster.name, returns=None)

    @functools.cached_property
    def _local(self) -> GraphComponent:
        default = self.parameters["scenario"].default
        returns = inspect.signature(self._function).return_annotation
        return self._built(self._function, default, default, returns)

    def _built(self, function: Callable[..., Any], scenario: str, name: str, returns: Any) -> GraphComponent:
        @functools.wraps(self._function)
        def body(*positional: Any, **named: Any) -> Any:
            return function(*positional, **named)

        def filled(parameter: inspect.Parameter) -> inspect.Parameter:
            if parameter.name == "scenario":
                return parameter.replace(default=scenario)
            if isinstance(parameter.default, str):
                return parameter.replace(default=parameter.default.replace(NAME, name))
            return parameter

        signature = inspect.signature(self._function)
        parameters = [filled(one) for one in signature.parameters.values()]
        signature = signature.replace(parameters=parameters, return_annotation=returns)
        body.__signature__ = signature  # type: ignore[attr-defined]
        return dsl.pipeline(body, name=self.name, display_name=self.title, description=self.description)


def pipeline(*, name: str, title: str, description: str) -> Callable[[Callable[..., Any]], Definition]:
    """Make a function that wires steps a pipeline; its docstring describes its parameters.

    A function that returns a NamedTuple of artifacts and parameters gives them to the caller on this machine, by which
    a command knows the outputs of its own run; on a cluster a pipeline returns nothing.

    One of the parameters is called `scenario`; its default is the scenario that the pipeline is compiled for, and
    `{scenario}` in the default of another is replaced by that scenario's name.
    """
    return lambda function: Definition(function, name, title, description)


def step(task: PipelineTask, title: str, kind: Kind, *, again: bool = False, cached: bool = True) -> PipelineTask:
    """Set up one step and return it.

    `title` is what the user interface shows; `kind` selects its cluster resources; `again`: whether it is retried
    when it fails, as steps that read or write external systems are; `cached`: whether the outputs of an earlier run
    with the same inputs are reused, never for steps with side effects or with dependencies other than their inputs.
    """
    task.set_display_name(title)
    if not cached:
        task.set_caching_options(False)
    cluster = _CLUSTER.get()
    if cluster is None:
        return task
    needs: StepResources = getattr(cluster.resources, kind)
    task.set_cpu_request(needs.cpu).set_cpu_limit(needs.cpu_limit or needs.cpu)
    task.set_memory_request(needs.memory).set_memory_limit(needs.memory_limit or needs.memory)
    if needs.accelerators:
        task.set_accelerator_type(needs.accelerator).set_accelerator_limit(needs.accelerators)
    kubernetes.set_timeout(task, round(needs.timeout_hours * 3600))
    if again:
        task.set_retry(RETRIES, BACKOFF, BACKOFF_FACTOR, BACKOFF_MOST)
    return task


def on_a_cluster() -> bool:
    """Whether the pipeline is being built for a cluster."""
    return _CLUSTER.get() is not None


@contextmanager
def _settings(cluster: ClusterSettings) -> Iterator[None]:
    token = _CLUSTER.set(cluster)
    try:
        yield
    finally:
        _CLUSTER.reset(token)
