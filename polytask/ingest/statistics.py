"""Statistics of a data set after ingest: sizes, density, cold users and items, and missing values."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from polytask.data.splits import split_events
from polytask.data.tables import Tables, read_tables
from polytask.ingest.report import read_report
from polytask.presentation.markdown_table import cell, table
from polytask.scenario.names import INTERACTIONS, ITEMS, USERS
from polytask.scenario.schema import Column, Scenario

DAY = pd.Timedelta(days=1)


class DatasetStatistics(BaseModel):
    """Numbers of an ingested data set.

    `dropped` has rows by reason, `missing` the share of kept rows without a value by column, both per table. `density`
    is the share of all pairs of user and item that have an event. `cold` are shares of what no event, or no training
    event, refers to. Density and items' shares are left out where the scenario has no items.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: dict[str, int]
    dropped: dict[str, dict[str, int]]
    first_event: str
    last_event: str
    days: float
    events_per_user: dict[str, float]
    splits: dict[str, int]
    density: float | None
    cold: dict[str, float]
    missing: dict[str, dict[str, float]]

    def metadata(self) -> dict[str, Any]:
        """As an artefact's metadata: one level of plain values, and the two tables as they are."""
        plain = self.model_dump(exclude={"rows", "splits", "cold", "events_per_user", "density"})
        plain |= {f"{name}_rows": count for name, count in self.rows.items()}
        plain |= {f"{name}_events": count for name, count in self.splits.items()}
        plain |= {f"{name}_events_per_user": value for name, value in self.events_per_user.items()}
        return plain | self.cold | ({} if self.density is None else {"density": self.density})

    def markdown(self, title: str) -> str:
        """As a page of the user interface."""
        per_user = self.events_per_user
        lines = [
            f"# {cell(title)}: the data",
            "",
            f"{self.first_event} to {self.last_event}, {self.days:,.1f} days. Events per user: "
            f"{per_user['least']:,.0f} to {per_user['most']:,.0f}, median {per_user['median']:,.0f}.",
        ]
        if self.density is not None:
            lines.append(f"{self.density:.3%} of all pairs of user and item have an event.")
        kept = [(name, f"{rows:,}", f"{sum(self.dropped[name].values()):,}") for name, rows in self.rows.items()]
        lines += table(("Table", "Rows kept", "Rows dropped"), kept)
        reasons = [(name, *found) for name, dropped in self.dropped.items() for found in dropped.items()]
        if reasons:
            dropped_rows = [(name, reason, f"{count:,}") for name, reason, count in reasons]
            lines += table(("Table", "Dropped because", "Rows"), dropped_rows)
        lines += table(("Split", "Events"), [(name, f"{count:,}") for name, count in self.splits.items()])
        cold = [(name.replace("_", " "), f"{share:.2%}") for name, share in self.cold.items()]
        lines += table(("Cold", "Share"), cold)
        gaps = [(name, *found) for name, shares in self.missing.items() for found in shares.items() if found[1]]
        if gaps:
            lines += table(("Table", "Column", "Missing"), [(name, column, f"{gap:.2%}") for name, column, gap in gaps])
        else:
            lines += ["", "No value is missing."]
        return "\n".join(lines) + "\n"


def dataset_statistics(scenario: Scenario, folder: Path) -> DatasetStatistics:
    """The statistics of the folder that ingest wrote; equal folders give equal ones."""
    report, tables = read_report(folder), read_tables(folder)
    events, users = tables.interactions, scenario.entities.users.key
    time = scenario.entities.interactions.timestamp
    split = split_events(scenario, events)
    counts = events.groupby(users).size()
    return DatasetStatistics(
        rows={name: found.rows_out for name, found in report.tables.items()},
        dropped={name: found.dropped for name, found in report.tables.items()},
        first_event=report.first_event,
        last_event=report.last_event,
        days=round((events[time].max() - events[time].min()) / DAY, 3),
        events_per_user={"least": counts.min(), "median": counts.median(), "most": counts.max()},
        splits={name: int((split == name).sum()) for name in ("train", "validation", "test")},
        density=_density(scenario, tables),
        cold=_cold(scenario, tables, (split == "train").to_numpy(), (split == "test").to_numpy()),
        missing=_missing(scenario, tables),
    )


def _density(scenario: Scenario, tables: Tables) -> float | None:
    if tables.items is None:
        return None
    pairs = tables.interactions[[scenario.entities.users.key, scenario.items.key]].drop_duplicates()
    return len(pairs) / (len(tables.users) * len(tables.items))


def _cold(scenario: Scenario, tables: Tables, train: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Users and items without an event, and test events whose user or item has no training event."""
    entities = [(USERS, scenario.entities.users, tables.users)]
    if tables.items is not None:
        entities.append((ITEMS, scenario.items, tables.items))
    found: dict[str, float] = {}
    for name, entity, rows in entities:
        keys = tables.interactions[entity.key]
        found[f"{name}_without_events"] = _share(~rows[entity.key].isin(keys))
        found[f"test_events_of_new_{name}"] = _share(~keys[test].isin(keys[train]))
    return found


def _missing(scenario: Scenario, tables: Tables) -> dict[str, dict[str, float]]:
    """Per table and column the share of rows without a value; an empty list is none."""
    entities = scenario.entities
    columns: dict[str, dict[str, Column]] = {USERS: entities.users.columns}
    if entities.items is not None:
        columns[ITEMS] = entities.items.columns
    columns[INTERACTIONS] = entities.interactions.columns
    named = tables.named()

    def gaps(rows: pd.DataFrame, column: str, spec: Column) -> pd.Series:
        if spec.type == "string_list":
            return rows[column].map(len, na_action="ignore").fillna(0) == 0
        return rows[column].isna()

    return {
        name: {column: _share(gaps(named[name], column, spec)) for column, spec in specs.items()}
        for name, specs in columns.items()
    }


def _share(flags: pd.Series) -> float:
    return float(flags.mean()) if len(flags) else 0.0
