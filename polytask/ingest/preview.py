"""A preview of a scenario on its tables, before training: rows, labels, texts, and warnings."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from polytask.data.catalogue import catalogues_of
from polytask.data.labels import TaskLabels, event_labels
from polytask.data.splits import split_events
from polytask.data.tables import Tables
from polytask.errors import DataError
from polytask.ingest.run import clean, read_source
from polytask.ingest.timeline import order_events
from polytask.scenario.names import HIDDEN, INTERACTIONS, ITEMS, USERS
from polytask.scenario.schema import Scenario, Task
from polytask.tasks.metrics import metrics_of
from polytask.text.templates import TextTokenizer, item_text, request_text
from polytask.text.time_context import time_context

# Users and items whose texts are counted in tokens; of the events, as many requests.
TEXTS = 2000


@dataclass(frozen=True)
class TablePreview:
    """Rows of one table before and after validation, the dropped ones by reason, and columns that nothing reads."""

    name: str
    rows_in: int
    rows_out: int
    dropped: Mapping[str, int]
    unread: tuple[str, ...]


@dataclass(frozen=True)
class Preview:
    """All tables, words on the labels of each task, example texts by template, and `notes` on what to look at.

    The texts are without personal values; `rejected` has the bad rows of each table, whole.
    """

    tables: tuple[TablePreview, ...]
    first_event: str
    last_event: str
    splits: Mapping[str, int]
    tasks: Mapping[str, str]
    texts: Mapping[str, str]
    notes: tuple[str, ...]
    rejected: Mapping[str, pd.DataFrame]


def preview(scenario: Scenario, tokenizer: Path, cache: Path | None = None) -> Preview:
    """Read, check and label the scenario's tables; nothing is written.

    `tokenizer` is the language model's tokenizer.json, `cache` as in `ingest`. Raises DataError as `ingest` does, and
    for labels that do not fit their tasks, all tasks in one message.
    """
    raw, _ = read_source(scenario, cache)
    tables, dropped, rejected = clean(scenario, raw)
    time = scenario.entities.interactions.timestamp
    events, _ = order_events(tables.interactions, scenario.entities.users.key, time)
    tables = tables._replace(interactions=events)
    split = split_events(scenario, events).to_numpy()
    words, notes = _labels(scenario, tables, split)
    texts, cut = _texts(scenario, tables, TextTokenizer(tokenizer, scenario.text.max_tokens))
    return Preview(
        tables=tuple(
            TablePreview(name, len(raw.named()[name]), len(table), dropped[name], _unread(table, raw.named()[name]))
            for name, table in tables.named().items()
        ),
        first_event=str(events[time].min().date()),
        last_event=str(events[time].max().date()),
        splits={name: int((split == name).sum()) for name in ("train", "validation", "test")},
        tasks=words,
        texts=texts,
        rejected=rejected,
        notes=(*_few_events(scenario, events), *notes, *cut, *_no_queries(scenario)),
    )


def _unread(table: pd.DataFrame, raw: pd.DataFrame) -> tuple[str, ...]:
    return tuple(str(column) for column in raw.columns if column not in table.columns)


def _labels(scenario: Scenario, tables: Tables, split: "np.ndarray[Any, Any]") -> tuple[dict[str, str], list[str]]:
    """Words on the labels of every task, and notes on those that are thin."""
    words, notes, wrong = {}, [], []
    catalogues = catalogues_of(scenario, tables)
    for task in scenario.tasks:
        try:
            alone = scenario.model_copy(update={"tasks": (task,)})
            labels = event_labels(alone, tables.interactions, split == "train", catalogues)[task.name]
        except DataError as error:
            wrong.append(str(error))
            continue
        shares = _class_shares(task, labels, scenario, tables)
        words[task.name] = f"{labels.mask.sum():,} of {len(split):,} events have a label" + _shown(task, shares)
        notes += [f"tasks.{task.name}: no event is of class {name}" for name, share in shares.items() if share == 0]
        if not labels.mask[split == "test"].any():
            notes.append(f"tasks.{task.name}: no event of the test split has a label, so it cannot be judged")
    if wrong:
        raise DataError("; ".join(wrong))
    return words, notes


def _class_shares(task: Task, labels: TaskLabels, scenario: Scenario, tables: Tables) -> dict[str, float]:
    """The share of the labelled events by class; of a binary task that of `yes`; nothing for other kinds."""
    if not labels.mask.any():
        return {}
    rows = np.zeros(len(labels.mask), dtype=np.int64)
    if labels.by_item is not None:
        items = catalogues_of(scenario, tables)[ITEMS]
        rows = items.rows(tables.interactions[items.key])
    return metrics_of(task).shares(task, labels.of(np.flatnonzero(labels.mask), rows))


def _shown(task: Task, shares: Mapping[str, float]) -> str:
    most = sorted(shares.items(), key=lambda entry: -entry[1])[:4]
    return "".join(f", {name} {share:.0%}" for name, share in most) + (", ..." if len(shares) > len(most) else "")


def _texts(scenario: Scenario, tables: Tables, tokenizer: TextTokenizer) -> tuple[dict[str, str], list[str]]:
    """The first text of each template, and notes on templates whose texts are longer than the model reads."""
    written = {"request": _requests(scenario, tables)}
    shown = {"request": _requests(scenario, tables._replace(interactions=tables.interactions.tail(1)), hidden=True)[0]}
    if tables.items is not None:
        written["item"] = [item_text(scenario.text, row) for row in _rows(tables.items)]
    notes = []
    for name, texts in written.items():
        cut = sum(tokenizer.was_truncated(texts))
        if cut:
            notes.append(
                f"text.{name}: {cut:,} of {len(texts):,} texts are cut at text.max_tokens ({tokenizer.max_tokens}); "
                "raise it, or put what matters first"
            )
        shown.setdefault(name, texts[0])
    return shown, notes


def _requests(scenario: Scenario, tables: Tables, hidden: bool = False) -> list[str]:
    """The texts of requests at the moments of the last events, with `hidden` without personal values."""
    users_hidden, events_hidden = (
        scenario.personal_columns(name) if hidden else frozenset() for name in (USERS, INTERACTIONS)
    )
    users, time = scenario.entities.users, scenario.entities.interactions.timestamp
    profiles = {row[users.key]: row for row in _rows(tables.users, len(tables.users))}
    texts = []
    for event in _rows(tables.interactions.tail(TEXTS)):
        own = profiles[event[users.key]]
        profile = {name: HIDDEN if name in users_hidden else own[name] for name in scenario.features.profile}
        context = {name: HIDDEN if name in events_hidden else event[name] for name in scenario.features.context}
        moment = time_context(event[time].to_pydatetime(), scenario.features.timezone)
        texts.append(request_text(scenario.text, profile, {**moment, **context}))
    return texts


def _rows(table: pd.DataFrame, most: int = TEXTS) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in table.head(most).to_dict("records")]


def _few_events(scenario: Scenario, events: pd.DataFrame) -> list[str]:
    """Where each user's last events are held out: how many users have too few."""
    if scenario.split.kind != "leave_one_out":
        return []
    few = int((events.groupby(scenario.entities.users.key).size() < 3).sum())
    return [f"{few:,} users have fewer than three events: they are trained on, never tested"] if few else []


def _no_queries(scenario: Scenario) -> list[str]:
    if not scenario.has_items or scenario.text.queries:
        return []
    return ["text.queries: empty, so the model does not learn what typed queries mean"]
