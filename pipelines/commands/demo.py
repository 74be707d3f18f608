"""The whole chain on this machine: pipeline, servers, requests, recommendations, and a summary."""

import json
import os
import sys
import time
from collections.abc import Hashable, Sequence
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from pipelines.commands.metric_table import metric_table
from pipelines.commands.paths import print_paths
from pipelines.local_runner.local import Run, code_version, run_pipeline
from pipelines.local_runner.workspace import WORKSPACE, Places, claimed
from polytask.contract.contract import load_contract
from polytask.data.catalogue import Catalogue, load_catalogue
from polytask.environment import stay_on_this_machine
from polytask.progress import progress_console
from polytask.scenario import load_scenario, scenario_path
from polytask.scenario.names import USERS
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import write_text
from polytask.text.templates import fill

if TYPE_CHECKING:
    from polytask.client import Recommendations

USERS_ASKED = 3
LIST_LENGTH = 5
PROFILE_SHOWN = 240
# A key that no table has: a request by a query alone.
NOBODY: dict[str, int | str] = {"integer": 0, "string": ""}


def demo(
    scenario: Annotated[
        str, typer.Option(help="Name of a scenario in scenarios/, or the path of a file.")
    ] = "movielens",
    workspace: Annotated[
        Path, typer.Option(help="Working directory: all artifacts are stored in it, in a folder per scenario.")
    ] = WORKSPACE,
    query: Annotated[
        str | None, typer.Option(help="The free-text query of the last request; default: the scenario's `examples`.")
    ] = None,
) -> None:
    """Run the whole chain: data, features, pipeline, servers, recommendations.

    Examples:
      polytask demo
      polytask demo --scenario reviews
      polytask demo --query 'a scary ghost story'
    """
    started = time.monotonic()
    # Bound to today's standard output: the pipeline's own output is led into its log for a while.
    console, progress = Console(file=sys.stdout), progress_console()
    stay_on_this_machine()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    file = scenario_path(scenario).resolve()
    loaded = load_scenario(file)
    places = claimed(workspace.resolve(), file, loaded.name, progress)
    progress.rule(f"[bold]Polytask: {loaded.title}")

    run = _run_pipeline(file, places, progress)
    # All by this run's outputs: the newest files of the workspace may be those of another run.
    evaluation = json.loads(run.outputs["evaluation"].read_text(encoding="utf-8"))
    _print_metrics(console, loaded, evaluation)
    bundle = run.outputs["published"]
    serving_started = time.monotonic()
    queries = loaded.examples.queries if query is None else (query,)
    answers = _send_request(loaded, bundle, places, queries, console, progress)
    seconds = {**run.seconds, "serve": round(time.monotonic() - serving_started, 2)}
    seconds["pipeline_overhead"] = round(run.overhead, 2)
    seconds["total"] = round(time.monotonic() - started, 2)
    tables = run.outputs["tables"]
    artifacts = {
        "summary": places.summary,
        "bundle": bundle,
        "contract": bundle / "contract.json",
        "model_repository": bundle / "repository",
        "feature_store": places.feature_store,
        "evaluation": run.outputs["evaluation"],
        "report": run.outputs["report"],
        "tables": tables,
        "ingest_report": tables / "report.json",
        "training_set": run.outputs["training_set"],
        "model": run.outputs["model"],
        "pipeline_log": run.log,
        "serving_logs": places.serving_logs,
    }
    test = evaluation["test"]
    summary = {
        "scenario": loaded.name,
        "model_version": _version_of(bundle),
        "seconds": seconds,
        "reused": run.reused,
        "metrics": test["metrics"],
        "baselines": test["baselines"],
        "answers": answers,
        "artifacts": {name: str(path) for name, path in artifacts.items()},
    }
    for file in (places.summary, places.last_summary):
        write_text(file, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    if run.reused:
        progress.print(f"reused: {', '.join(run.reused)}", highlight=False)
    print_paths(console, "Artifacts", artifacts)
    seconds_of_runner = f"{run.overhead:.1f} s of it spent by the pipeline's runner"
    progress.print(f"done in {seconds['total']:.0f} s, {seconds_of_runner}", highlight=False)


def _run_pipeline(file: Path, places: Places, console: Console) -> Run:
    from pipelines.train_and_deploy import train_and_deploy

    return run_pipeline(
        train_and_deploy,
        {
            "scenario": str(file),
            "feature_store": str(places.feature_store),
            "registry_dir": str(places.published),
            "code_version": code_version(),
            "checkpoint_dir": str(places.folder),
        },
        places.pipeline,
        console,
    )


def _version_of(bundle: Path) -> int:
    return load_contract(bundle, verify_files=False).model_version


def _print_metrics(console: Console, scenario: Scenario, evaluation: Any) -> None:
    test = evaluation["test"]
    for task in scenario.tasks:
        methods = {"polytask": test["metrics"][task.name], **test["baselines"][task.name]}
        console.print(metric_table(f"{task.title} ({task.name}): test split", methods))


def _send_request(
    scenario: Scenario, bundle: Path, places: Places, queries: Sequence[str], console: Console, progress: Console
) -> list[dict[str, Any]]:
    """Start the servers, request and print recommendations for a few users over gRPC, stop the servers."""
    from polytask.client import Question, RecommenderClient
    from serving.commands.response_tables import render_responses
    from serving.local.stack import LocalStack

    contract = load_contract(bundle, verify_files=False)
    users = load_catalogue(scenario, USERS, bundle / contract.catalogues[USERS].path)
    requested = [cast("int | str", users.ids[position]) for position in _spread(len(users), USERS_ASKED)]
    # A query replaces the profile: without a history, the response would not depend on the user at all.
    requesting = requested[0] if scenario.has_items else NOBODY[scenario.entities.users.key_type]
    titles = {task.name: task.title for task in scenario.tasks}
    answers: list[Recommendations] = []
    with progress.status("starting Triton and the transformer"):
        stack = LocalStack(bundle, places.feature_store, logs=places.serving_logs)
        stack.start()
    try:
        progress.print(f"[green]✓[/] serving: gRPC {stack.grpc_url}, REST {stack.rest_url}", highlight=False)
        progress.print(f"  {stack.triton}", highlight=False, soft_wrap=True)
        with RecommenderClient(stack.grpc_url) as client:
            questions = [Question(user) for user in requested]
            questions += [Question(requested[0], context=words) for words in scenario.examples.contexts]
            questions += [Question(requesting, query=text) for text in queries]
            for question in questions:
                answer = client.recommend_many([question], k=LIST_LENGTH)[0]
                answers.append(answer)
                if question in questions[: len(requested)]:
                    progress.print(_profile(scenario, users, question.user), style="dim", markup=False, highlight=False)
                render_responses(console, answer, titles, LIST_LENGTH)
    finally:
        with progress.status("stopping the servers"):
            stack.stop()
    progress.print("[green]✓[/] servers stopped", highlight=False)
    return [answer.to_dict() for answer in answers]


def _profile(scenario: Scenario, users: Catalogue, user: Hashable) -> str:
    """The profile of a user as the text that the model reads."""
    words = fill(scenario.text, scenario.text.profile, users.record(users.row(user)))
    return f"About user {user}: {shorten(words, PROFILE_SHOWN, placeholder=' ...')}"


def _spread(count: int, wanted: int) -> list[int]:
    """Positions of `wanted` entries spread evenly over a list of `count`."""
    return sorted({(count - 1) * step // max(1, wanted - 1) for step in range(min(wanted, count))})
