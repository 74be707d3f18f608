"""The command `polytask forget`: delete what is stored of a user."""

import re
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipelines.commands.evaluate import OUTPUT
from pipelines.commands.paths import print_path_table, shown_path
from pipelines.commands.update_base import ScenarioOption, line_printer
from pipelines.local_runner.workspace import WORKSPACE, Places
from polytask.environment import stay_on_this_machine
from polytask.errors import PolytaskError
from polytask.progress import progress_console
from polytask.scenario import load_scenario, scenario_path
from polytask.scenario.schema import Scenario
from serving.registry.address import open_registry


def forget(
    user: Annotated[str, typer.Option(help="The user's key, as in the users table.")],
    scenario: ScenarioOption = "movielens",
    workspace: Annotated[Path, typer.Option(help="Workspace of the demo.")] = WORKSPACE,
    feature_store: Annotated[
        Path | None, typer.Option(help="Folder of the feature store; default: that of the workspace.")
    ] = None,
    registry_dir: Annotated[
        Path | None, typer.Option(help="Folder of the published versions; default: that of the workspace.")
    ] = None,
    evaluation: Annotated[
        Path | None, typer.Option(help="Folder of `polytask evaluate`; default: build/eval/<scenario>.")
    ] = None,
    registry: Annotated[
        str,
        typer.Option(help="Kubeflow Model Registry, http(s)://host[:port][?model=name]; default: the folder itself."),
    ] = "",
    sources: Annotated[
        bool, typer.Option("--sources", help="Delete the rows from the tables of `source.path` too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be done, and do nothing.")] = False,
) -> None:
    """Delete what is stored of a user, and put the user on the list of those that no run reads again.

    The live version and the one before it are exported again without the user, older versions that hold the user are
    deleted. An interrupted run is finished by the same command. Where nothing is found, the exit code is 0.
    docs/personal-data.md lists all places.

    Examples:
      polytask forget --user 42 --dry-run
      polytask forget --user 42
    """
    stay_on_this_machine()
    console = Console(file=sys.stdout)
    loaded = load_scenario(scenario_path(scenario))
    key = typed_key(loaded, user)
    for name, folder in {"workspace": workspace, "feature-store": feature_store, "registry-dir": registry_dir}.items():
        # A wrong path must not end in "nothing is stored".
        if folder not in (None, WORKSPACE) and not folder.is_dir():
            raise PolytaskError(f"--{name}: {folder} is no folder; allowed: one that the project wrote to")
    places = Places(workspace.resolve(), loaded.name)
    versions = (registry_dir or places.published).resolve()

    from pipelines.forgetting.run import forget as run
    from pipelines.forgetting.run import planned
    from pipelines.forgetting.target import Target
    from serving.local.stack import LOGS

    target = Target(
        scenario=loaded,
        user=key,
        places=places,
        feature_store=(feature_store or places.feature_store).resolve(),
        published=versions,
        evaluation=(evaluation or OUTPUT / loaded.name).resolve(),
        serve_logs=LOGS.resolve(),
        registry=open_registry(registry, versions, loaded.name),
        registry_setting=registry,
        rewrite_sources=sources,
        log=line_printer(progress_console()),
    )
    live = target.registry.live()
    found = planned(target) if dry_run else run(target)
    if not found:
        console.print(f"nothing is stored of user {user} in the places that are looked at", highlight=False)
        return
    headings = ("place", "where", "would be done" if dry_run else "done")
    rows = [(finding.place, shown_path(finding.where), finding.action) for finding in found]
    print_path_table(console, headings, rows)
    now = target.registry.live()
    if live is not None and now is not None and now.version != live.version:
        console.print(
            f"version {now.version} is live in place of {live.version}: a running `polytask serve` loads it by itself; "
            "on a cluster, roll it out (polytask rollout) and delete the deleted versions' copies in object storage",
            highlight=False,
            soft_wrap=True,
        )


def typed_key(scenario: Scenario, user: str) -> Hashable:
    """A key of the command line in the type of the scenario. Raises PolytaskError for one that does not fit."""
    text = user.strip()
    if scenario.entities.users.key_type == "string":
        return text
    # As ingest reads it: `7`, `7.0` and `07` are one integer, of 64 bits.
    if re.fullmatch(r"[+-]?[0-9]{1,19}(\.0*)?", text) and -(2**63) <= (key := int(text.partition(".")[0])) < 2**63:
        return key
    raise PolytaskError(f"--user: {user!r}; allowed: an integer of 64 bits, see entities.users.key_type")
