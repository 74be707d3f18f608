"""The typed response of a recommender: one result per user, one tuple of entries per task."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ranked:
    """An entry of a retrieval task's list."""

    id: int | str
    title: str
    score: float


@dataclass(frozen=True)
class ScoredLabel:
    """A class with its score. A binary task has one, named after the task."""

    label: str
    score: float


@dataclass(frozen=True)
class Value:
    """The number that a regression task predicts."""

    value: float


Entry = Ranked | ScoredLabel | Value


@dataclass(frozen=True)
class SlateEntry:
    """An entry of the merged slate: `id` is an external id as text, or a label."""

    task: str
    id: str
    title: str
    score: float


@dataclass(frozen=True)
class Recommendations:
    """The recommendations for one user: task name -> entries, best first.

    If the request has a slate, `slate` merges the tasks, best first, and `priority` is the weight of each task.
    `degraded`: the feature store was unavailable, and only the fields of the request were used.
    `timings` holds the milliseconds that each stage of the whole call took on the server: stage -> ms.
    """

    user: int | str
    tasks: Mapping[str, tuple[Entry, ...]]
    cold_start: bool
    truncated: bool
    stale_features: bool
    degraded: bool
    model_version: str
    contract_checksum: str
    query: str | None = field(default=None)
    context: Mapping[str, str] = field(default_factory=dict)
    slate: tuple[SlateEntry, ...] = ()
    priority: Mapping[str, float] = field(default_factory=dict)
    # Not compared: two equal results are equal regardless of their latency.
    timings: Mapping[str, float] = field(default_factory=dict, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts and lists, ready for JSON."""
        return asdict(self)
