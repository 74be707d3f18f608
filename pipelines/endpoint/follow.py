"""Follow a run until it ends: a line for every step that ended, and an error when the run did not succeed."""

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console

from pipelines.endpoint.endpoint import Endpoint, EndpointError
from polytask.errors import PolytaskError

ENDED = ("SUCCEEDED", "FAILED", "SKIPPED", "CANCELED")
# So many calls in a row may fail while the endpoint is restarted.
MISSED = 5


class RunError(PolytaskError):
    """A run that failed, was cancelled, or has not ended in time."""


def follow(
    endpoint: Endpoint,
    run_id: str,
    titles: Mapping[str, str],
    console: Console,
    *,
    seconds: float,
    poll_seconds: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Wait for a run; `titles` are those of its steps, by task name.

    Raises RunError, which names the steps that failed, and EndpointError when the endpoint stays away. The run itself
    goes on when the time is up.
    """
    end, missed = clock() + seconds, 0
    reported: dict[str, str] = {}
    with console.status("starting") as status:
        while True:
            try:
                run = endpoint.run(run_id)
                missed = 0
            except EndpointError as error:
                missed += 1
                if not error.passing or missed >= MISSED:
                    raise
                run = None
            if run is not None:
                state = run.state or "PENDING"
                running = _report(run, titles, reported, console)
                status.update(f"{state}: {', '.join(running)}" if running else state)
                if state in ENDED:
                    return _end(run, state, reported, console)
            if clock() > end:
                place = endpoint.page_of(run_id)
                raise RunError(f"run {run_id} has not ended after {seconds:g} s; it goes on: {place}")
            time.sleep(poll_seconds)


def step_titles(spec: Mapping[str, Any]) -> dict[str, str]:
    """The titles of all steps of a PipelineSpec by task name, those inside of an exit handler too."""
    graphs = [spec["root"], *spec.get("components", {}).values()]
    tasks = [entry for graph in graphs for entry in graph.get("dag", {}).get("tasks", {}).items()]
    leaves = {name for name, one in spec.get("components", {}).items() if "dag" not in one}
    return {
        name: task.get("taskInfo", {}).get("name", name)
        for name, task in tasks
        if task.get("componentRef", {}).get("name") in leaves
    }


def _report(run: Any, titles: Mapping[str, str], reported: dict[str, str], console: Console) -> list[str]:
    """Print the steps that ended since the last time and return those that run."""
    running = []
    for title, state, seconds in _steps(run, titles):
        if state == "RUNNING":
            running.append(title)
        if state in ENDED and title not in reported:
            reported[title] = state
            mark = {"SUCCEEDED": "[green]✓[/]", "SKIPPED": "[dim]-[/]"}.get(state, "[red]✗[/]")
            took = "" if seconds is None else f" in {seconds:.0f} s"
            console.print(f"{mark} {title}: {state.lower()}{took}", highlight=False)
    return running


def _steps(run: Any, titles: Mapping[str, str]) -> Iterator[tuple[str, str, float | None]]:
    """Title, state and seconds of the steps that have begun; drivers and groups of steps are none."""
    for task in (run.run_details.task_details if run.run_details else None) or ():
        if task.display_name in titles and task.state:
            both = task.start_time and task.end_time
            seconds = (task.end_time - task.start_time).total_seconds() if both else None
            yield titles[task.display_name], task.state, seconds


def _end(run: Any, state: str, reported: Mapping[str, str], console: Console) -> None:
    if state == "SUCCEEDED":
        console.print("[green]✓[/] the run succeeded")
        return
    failed = [title for title, ended in reported.items() if ended == "FAILED"]
    where = f" at {', '.join(failed)}" if failed else ""
    message = (run.error.message if run.error else "") or ""
    raise RunError(f"run {run.run_id} ended {state}{where}" + (f": {' '.join(message.split())}" if message else ""))
