"""Who is forgotten, and where: what every place's handler gets, and what it returns."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.local_runner.workspace import Places
from polytask.registry.version import ModelRegistry
from polytask.scenario.schema import Scenario

# removed: by this command; yours: stays until the team deletes it.
Fate = Literal["removed", "yours"]


@dataclass(frozen=True)
class Target:
    """A user of a scenario, and the folders and the registry to look in. Progress goes to the callback.

    `serve_logs` has the logs of `polytask serve`, those of all scenarios.
    """

    scenario: Scenario
    user: Hashable
    places: Places
    feature_store: Path
    published: Path
    evaluation: Path
    serve_logs: Path
    registry: ModelRegistry
    registry_setting: str
    rewrite_sources: bool
    log: Callable[[str], None]

    @property
    def key(self) -> str:
        """The column that holds the user's key."""
        return self.scenario.entities.users.key


@dataclass(frozen=True)
class ForgetResult:
    """Where a user was found, what is or was done there, and whether this command does it."""

    place: str
    where: str
    action: str
    fate: Fate = "removed"


@dataclass(frozen=True)
class Handler:
    """How one place is searched, and how the user is taken out of it.

    `remove` gets what `find` returned, and returns what was done. Each can be interrupted and run again.
    """

    find: Callable[[Target], list[ForgetResult]]
    remove: Callable[[Target, list[ForgetResult]], list[ForgetResult]]


def counted(count: int, noun: str) -> str:
    """A number with its noun: `1 row`, `7 rows`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def nothing_to_remove(_: Target, findings: list[ForgetResult]) -> list[ForgetResult]:
    """For places that are only reported."""
    return findings
