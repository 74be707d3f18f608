"""The command `polytask doctor`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from polytask.scenario import scenario_path
from serving.doctor.finding import CheckResult

SIGNS = {"ok": "[green]✓[/]", "note": "[yellow]·[/]", "fault": "[red]✗[/]"}


def doctor(
    scenario: Annotated[str, typer.Option(help="Name of the scenario whose demo is looked at.")] = "movielens",
    workspace: Annotated[Path, typer.Option(help="Folder that the demo left its parts in.")] = Path("build/demo"),
) -> None:
    """Check this machine and the project on it, and report what to do.

    ✓ is well, · is missing and needed by some commands only, ✗ is a fault: then the exit code is 1.

    Examples:
      polytask doctor
      polytask doctor --scenario reviews
    """
    findings = examine(workspace / scenario_path(scenario).stem)
    show(Console(), findings)
    if any(finding.status == "fault" for finding in findings):
        raise typer.Exit(1)


def examine(demo: Path) -> list[CheckResult]:
    """All checks, over what the demo left in a folder."""
    from serving.doctor import cluster, machine, project
    from serving.local.stack import STATE_FILE, read_state

    model, scenario = project.check_bundle(demo / "published" / "current")
    return [
        machine.check_system(),
        machine.check_python(),
        machine.check_packages(),
        machine.check_cores(),
        machine.check_memory(),
        machine.check_disk(Path.cwd()),
        machine.check_ports(),
        project.check_triton(),
        project.check_language_model(scenario),
        model,
        project.check_features(demo / "feature_store", scenario),
        project.check_running(read_state(STATE_FILE)),
        cluster.check_cluster(cluster.kubeconfig()),
        cluster.check_storage_containers(cluster.kubeconfig()),
    ]


def show(console: Console, findings: list[CheckResult]) -> None:
    """Print a table, and one line with the result."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("", "check", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        table.add_row(SIGNS[finding.status], finding.name, escape(finding.found), escape(finding.advice))
    console.print(table)
    faults = [finding.name for finding in findings if finding.status == "fault"]
    console.print(f"[red]to be fixed: {', '.join(faults)}[/]" if faults else "[green]ready[/]", highlight=False)
