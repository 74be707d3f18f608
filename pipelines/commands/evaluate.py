"""The command `polytask evaluate`: measure a scenario's model over seeds, with baselines and variants."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.commands.metric_table import metric_table
from pipelines.local_runner.workspace import WORKSPACE
from polytask.environment import stay_on_this_machine
from polytask.errors import DataError
from polytask.progress import progress_console
from polytask.scenario import load_scenario, scenario_path
from polytask.storage.atomic import write_text

OUTPUT = Path("build/eval")
METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"


def evaluate(
    scenario: Annotated[
        str, typer.Option(help="Name of a scenario in scenarios/, or the path of a file.")
    ] = "movielens",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to train, from the scenario's on.")] = 3,
    report: Annotated[bool, typer.Option(help="Write report.html next to metrics.json.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Folder for results and checkpoints; default: build/eval/<scenario>.")
    ] = None,
    workspace: Annotated[Path, typer.Option(help="Where the demo keeps data and features.")] = WORKSPACE,
    previous: Annotated[
        Path | None, typer.Option(help="Checkpoint folder of an earlier model to compare with.")
    ] = None,
    ablations: Annotated[bool, typer.Option(help="Train variants of the model that show what its parts bring.")] = True,
    ablation_seeds: Annotated[int, typer.Option(min=1, help="How many seeds the variants are trained with.")] = 1,
) -> None:
    """Train several seeds, compare them with tuned baselines, write metrics.json and, if requested, a report.

    Examples:
      polytask evaluate --report
      polytask evaluate --seeds 1 --no-ablations
    """
    started = time.monotonic()
    console, progress = Console(file=sys.stdout), progress_console()
    stay_on_this_machine()
    file = scenario_path(scenario).resolve()
    loaded = load_scenario(file)
    if previous is not None and not previous.is_dir():
        raise DataError(f"--previous: {previous} is no folder; allowed: the checkpoint folder of an earlier model")
    from pipelines.local_runner.prepare import prepared
    from polytask.experiment.experiment import Experiment

    target = (output or OUTPUT / loaded.name).resolve()
    progress.rule(f"[bold]Polytask: evaluation of {loaded.title}")
    prepare_started = time.monotonic()
    tables, training_set = prepared(file, workspace, progress)
    seconds: dict[str, Any] = {"prepare": round(time.monotonic() - prepare_started, 1)}
    chosen = [loaded.training.seed + step for step in range(seeds)]
    with progress.status("loading") as status:
        results = Experiment(
            scenario=loaded,
            tables=tables,
            training_set=training_set,
            output=target,
            seeds=chosen,
            ablation_seeds=chosen[:ablation_seeds] if ablations else (),
            previous=previous,
            log=lambda line: status.update(line[: max(20, console.width - 4)]),
            done=lambda line: progress.print(f"[green]✓[/] {line}", highlight=False),
            seconds=seconds,
        ).run()
    seconds["total"] = round(time.monotonic() - started, 1)
    write_text(target / METRICS_FILE, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    print_results(console, results)
    console.print(f"wrote {target / METRICS_FILE}", highlight=False, soft_wrap=True)
    if report:
        from polytask.evaluation.report import render_report

        write_text(target / REPORT_FILE, render_report(results))
        console.print(f"wrote {target / REPORT_FILE}", highlight=False, soft_wrap=True)
    progress.print(f"done in {seconds['total']:.0f} s", highlight=False)


def print_results(console: Console, results: Any) -> None:
    """The test split per task, one column per method, and the queries."""
    for task, about in results["settings"]["tasks"].items():
        values = {"polytask": results["test"]["metrics"][task], **results["test"]["baselines"][task]}
        means = {name: {metric: value["mean"] for metric, value in found.items()} for name, found in values.items()}
        title = f"{about['title']} ({task}): test, mean of {len(results['seeds'])} seeds"
        console.print(metric_table(title, means))
        for other, differences in results["differences"]["test"][task].items():
            found = differences.get(about["metric"])
            if found is not None:
                low, high = found["interval"]
                console.print(
                    f"  {about['metric']} against {other}: {found['mean']:+.4f} [{low:+.4f}, {high:+.4f}] "
                    f"{found['verdict']}",
                    highlight=False,
                    markup=False,
                )
    if results["queries"]:
        table = Table(title="Queries: share of the top 10 that fits", title_justify="left", box=box.SIMPLE_HEAD)
        for column in ("query", "wanted", "share", "without", "overlap"):
            table.add_column(column, justify="left" if column in ("query", "wanted") else "right")
        for row in results["queries"]:
            share = f"{row['share']:.2f}" if row["holds"] else f"[red]{row['share']:.2f}[/]"
            wanted = " or ".join(row["values"])
            table.add_row(row["query"], wanted, share, f"{row['without_query']:.2f}", f"{row['overlap']:.2f}")
        console.print(table)
