"""Checks across a scenario's fields. Each raises ValueError: the field's path, its value, what is allowed."""

import re
from collections.abc import Collection, Iterable
from string import Formatter
from typing import TYPE_CHECKING

from polytask.scenario.kinds import kind_of, kinds_with
from polytask.scenario.names import CONTEXT_WORDS, INTERACTIONS, ITEMS

if TYPE_CHECKING:
    from polytask.scenario.schema import Scenario, Task


# Responses have tensors of these names, whatever the tasks: slate_ids, priority_tasks.
RESERVED = ("slate", "priority")


def check_scenario(scenario: "Scenario") -> None:
    """Every check; the first that fails speaks."""
    text = scenario.text
    _check_names("tasks", [task.name for task in scenario.tasks])
    for position, task in enumerate(scenario.tasks):
        if task.name in RESERVED:
            raise ValueError(
                f"tasks.{position}.name: {task.name!r} names tensors that are there anyway; allowed: another"
            )
    if all(task.added for task in scenario.tasks):
        raise ValueError("tasks: all of them are `added`; allowed: at least one that is trained with the encoder")
    _check_known("features.profile", scenario.features.profile, scenario.entities.users.columns)
    _check_template("text.profile", text.profile, scenario.features.profile)
    _check_context(scenario)
    _check_template("text.request", text.request, ["profile", *scenario.context_words])
    _check_template("text.request_with_query", text.request_with_query, ["query", "profile", *scenario.context_words])
    _check_items(scenario)
    for position, task in enumerate(scenario.tasks):
        _check_label(scenario, f"tasks.{position}", task)


def _check_context(scenario: "Scenario") -> None:
    """The context comes from text columns of the events, under names of its own, and gives no label away."""
    where, names = "features.context", scenario.features.context
    columns = scenario.entities.interactions.columns
    _check_names(where, [*names])
    _check_known(where, names, [name for name, column in columns.items() if column.type == "string"])
    labels = {task.label.column: task.name for task in scenario.tasks if task.label.table == INTERACTIONS}
    for name in names:
        if name in ("query", "profile", *CONTEXT_WORDS, *scenario.features.profile):
            raise ValueError(f"{where}: {name!r} has a meaning in templates already; allowed: another name")
        if name in labels:
            raise ValueError(f"{where}: {name!r} is the label of task {labels[name]!r}; allowed: what is known before")
    for position, words in enumerate(scenario.examples.contexts):
        _check_known(f"examples.contexts.{position}", words, names)


def _check_items(scenario: "Scenario") -> None:
    """What only scenarios with items have, and must have."""
    items, text, checks = scenario.entities.items, scenario.text, scenario.evaluation.queries
    needed = {"text.item": text.item, "features.history_ttl_days": scenario.features.history_ttl_days}
    for where, value in needed.items():
        if (items is None) != (value is None):
            found = "missing" if value is None else f"invalid value {value!r}"
            raise ValueError(
                f"{where}: {found}; it is required with `entities.items` and only there, and that is "
                f"{'not ' if items is None else ''}there"
            )
    if items is None:
        if text.queries:
            raise ValueError(
                f"text.queries: {text.queries[0]!r} is a template over items; there is no `entities.items`"
            )
        if text.query_words:
            raise ValueError(f"text.query_words: {', '.join(text.query_words)}; there is no `entities.items`")
        if checks:
            raise ValueError(f"evaluation.queries: {checks[0].query!r} requires items; there is no `entities.items`")
        if scenario.split.kind != "user_holdout":
            raise ValueError(
                f"split.kind: {scenario.split.kind!r} needs a history, and without `entities.items` there is none; "
                "allowed: user_holdout"
            )
        return
    _check_template("text.item", text.item or "", items.columns)
    # A query from a title would leak the target item of training, and users do not know the item they will like.
    shared = [column for column in items.columns if column != items.title_column]
    for position, query in enumerate(text.queries):
        _check_template(f"text.queries.{position}", query, shared)
    _check_known("text.query_words", text.query_words, shared)
    for position, check in enumerate(checks):
        _check_known(f"evaluation.queries.{position}.column", [check.column], items.columns)


def _check_label(scenario: "Scenario", where: str, task: "Task") -> None:
    items, interactions, label = scenario.entities.items, scenario.entities.interactions.columns, task.label
    kind = kind_of(task)
    if items is None:
        if task.catalogue is not None:
            raise ValueError(f"{where}.kind: {task.kind!r} lists {task.catalogue}; that needs `entities.items`")
        if label.table == ITEMS:
            raise ValueError(f"{where}.label.source: {label.source!r} needs `entities.items`; allowed: interaction")
    kind.check_label(scenario, where, task)
    if label.at_least is not None:
        column = interactions.get(label.column or "") if label.table == INTERACTIONS else None
        if not kind.takes_threshold or column is None or column.type not in ("integer", "float"):
            raise ValueError(
                f"{where}.label.at_least: invalid value {label.at_least}; "
                f"allowed: only in a task of kind {kinds_with('takes_threshold')} over a number of the interactions"
            )
    if label.where is not None:
        _check_known(f"{where}.label.where.column", [label.where.column], interactions)


def check_label_column(scenario: "Scenario", where: str, task: "Task", types: Collection[str]) -> None:
    """Check that the column of a label exists and has one of `types`, for a kind that reads a column.

    Args:
        scenario: The scenario of the task.
        where: Path of the task in the file.
        task: A task with `label.source`.
        types: Allowed types of the column.

    Raises:
        ValueError: The column is not known or has another type.
    """
    check_label_known(scenario, where, task)
    column = task.label.column or ""
    columns = scenario.label_columns(task)
    held = columns[column].type if column in columns else "key"
    if held not in types:
        raise ValueError(
            f"{where}.label.column: {column!r} holds {held}; allowed for kind {task.kind!r}: {' or '.join(types)}"
        )


def check_label_known(scenario: "Scenario", where: str, task: "Task") -> None:
    """Check that the column of a label exists; the key of the items counts as a column of the event."""
    items, of_event = scenario.entities.items, task.label.table == INTERACTIONS
    own = [items.key] if items is not None and of_event else []
    allowed = [*(scenario.entities.interactions.columns if of_event else items.columns if items else ()), *own]
    _check_known(f"{where}.label.column", [task.label.column or "nothing"], allowed)


def _check_names(where: str, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"{where}: {', '.join(doubled)} given twice; each name is allowed once")


def _check_known(where: str, names: Iterable[str], allowed: Collection[str]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{where}: {name!r} is not a known column; allowed: {', '.join(allowed) or 'none'}")


def _check_template(where: str, template: str, allowed: Collection[str]) -> None:
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ValueError(f"{where}: {template!r} is not a template ({error}); allowed: text with {{column}}") from error
    for field in fields:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", field) or field not in allowed:
            raise ValueError(f"{where}: {{{field}}} is not known; allowed: {', '.join(allowed)}")
