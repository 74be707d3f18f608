"""The command `polytask models`: list the versions of a scenario's model, roll back to one, remove old ones."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from pipelines.local_runner.workspace import WORKSPACE, Places
from polytask.errors import PolytaskError
from polytask.registry.lineage import shown
from polytask.registry.retention import Pruned, prune
from polytask.registry.version import ModelRegistry, ModelVersion
from polytask.scenario import load_scenario, scenario_path
from polytask.scenario.schema import Retention, Scenario
from serving.registry.address import open_registry
from serving.registry.served import find_live

models = typer.Typer(invoke_without_command=True)
ScenarioOption = Annotated[str, typer.Option(help="Name of a scenario in scenarios/, or the path of a file.")]
WorkspaceOption = Annotated[Path, typer.Option(help="Workspace of the demo, which holds the published versions.")]
RegistryDirOption = Annotated[
    Path | None, typer.Option(help="Folder of the published versions; default: that of the workspace.")
]
RegistryOption = Annotated[
    str,
    typer.Option(help="Kubeflow Model Registry, http(s)://host[:port][?model=name]; default: the folder itself."),
]


@models.callback()
def list_models(
    context: typer.Context,
    scenario: ScenarioOption = "movielens",
    workspace: WorkspaceOption = WORKSPACE,
    registry_dir: RegistryDirOption = None,
    registry: RegistryOption = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that is known, as JSON.")] = False,
) -> None:
    """List the versions of a model, the oldest first, with the test metrics and what each was made of.

    Examples:
      polytask models
      polytask models --scenario movielens --json
      polytask models --registry http://localhost:8080
      polytask models rollback --reason "worse lists"
      polytask models prune --keep 5 --dry-run
    """
    if context.invoked_subcommand is not None:
        return
    loaded = load_scenario(scenario_path(scenario))
    opened = _registry(loaded, workspace, registry_dir, registry)
    versions, live = opened.versions(), opened.live()
    console = Console(file=sys.stdout)
    if as_json:
        number = None if live is None else live.version
        content = [{"live": version.version == number, **version.model_dump()} for version in versions]
        console.print_json(json.dumps(content))
        return
    if not versions:
        console.print(f"no versions in {opened}; a demo publishes the first", highlight=False, soft_wrap=True)
        return
    console.print(_table(loaded, versions, live))


@models.command("rollback")
def roll_back(
    scenario: ScenarioOption = "movielens",
    workspace: WorkspaceOption = WORKSPACE,
    registry_dir: RegistryDirOption = None,
    registry: RegistryOption = "",
    to: Annotated[int | None, typer.Option(help="A version; default: the one that was promoted before.")] = None,
    reason: Annotated[str, typer.Option(help="Why; it is noted at the version that is left.")] = "by hand",
) -> None:
    """Make an earlier version the live one.

    Examples:
      polytask models rollback --reason "worse lists"
      polytask models rollback --to 1234567890 --reason "the last good one"
    """
    version = _registry(load_scenario(scenario_path(scenario)), workspace, registry_dir, registry).roll_back(reason, to)
    Console(file=sys.stdout).print(f"version {version.version} is live again", highlight=False)


@models.command("prune")
def prune_versions(
    scenario: ScenarioOption = "movielens",
    workspace: WorkspaceOption = WORKSPACE,
    registry_dir: RegistryDirOption = None,
    registry: RegistryOption = "",
    keep: Annotated[int | None, typer.Option(min=1, help="Keep so many of the newest versions.")] = None,
    max_age_days: Annotated[
        float | None, typer.Option(min=0.01, help="Remove versions that were promoted longer ago than this.")
    ] = None,
    namespace: Annotated[
        str, typer.Option(help="Namespace of the InferenceService `recommender`: what it serves is kept too.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be removed, and remove nothing.")] = False,
) -> None:
    """Remove old versions: their bundles, checkpoints and records.

    The live version and the one that was live before it always stay. Without --keep and --max-age-days the scenario's
    `retention` decides; it is an error when the scenario has none, as movielens. In a Kubeflow Model Registry the
    versions are archived.

    Examples:
      polytask models prune --keep 5 --dry-run
      polytask models prune --keep 5 --max-age-days 90
    """
    loaded = load_scenario(scenario_path(scenario))
    rule = loaded.retention
    if keep is not None or max_age_days is not None:
        rule = Retention(keep=keep, max_age_days=max_age_days)
    if not rule.removes:
        raise PolytaskError(
            "prune: no rule is given; allowed: --keep, --max-age-days, or `retention` in the scenario's file"
        )
    opened = _registry(loaded, workspace, registry_dir, registry)
    console = Console(file=sys.stdout)
    word = "would be removed" if dry_run else "removed"

    def show(pruned: Pruned) -> None:
        console.print(f"version {pruned.version.version} {word}: {pruned.reason}", highlight=False)

    served = find_live(opened, namespace).version if namespace else None
    found = prune(
        opened,
        keep=rule.keep,
        max_age_days=rule.max_age_days,
        served=() if served is None else (served.version,),
        dry_run=dry_run,
        on_removed=show,
    )
    kept = len(opened.versions()) - (len(found) if dry_run else 0)
    count = f"{len(found)} version{'' if len(found) == 1 else 's'}"
    console.print(f"{count} {word}, {kept} kept", highlight=False)


def _registry(scenario: Scenario, workspace: Path, registry_dir: Path | None, setting: str) -> ModelRegistry:
    folder = registry_dir or Places(workspace, scenario.name).published
    return open_registry(setting, folder.resolve(), scenario.name)


def _table(scenario: Scenario, versions: list[ModelVersion], live: ModelVersion | None) -> Table:
    """A row per version: a narrow terminal wraps cells rather than losing one."""
    from polytask.evaluation.measures import primary_metric

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("version", "live", "promoted", "test metrics", "made of"):
        table.add_column(name, overflow="fold")
    for version in versions:
        metrics = [
            f"{task.name} {metric} {value:.4f}"
            for task in scenario.tasks
            for metric in [primary_metric(task)]
            if (value := version.metrics.get(task.name, {}).get(metric)) is not None
        ]
        lineage = shown(version.lineage)
        notes = [f"{name}: {value}" for name, value in version.tags.items()]
        table.add_row(
            str(version.version),
            "live" if live is not None and version.version == live.version else "",
            (version.promoted or "-")[:19],
            "\n".join(metrics),
            "\n".join(lineage + notes),
        )
    return table
