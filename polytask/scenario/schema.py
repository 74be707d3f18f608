"""The scenario as pydantic models: every field, its type, its bounds, and the checks across fields."""

import re
from collections.abc import Collection, Iterable
from string import Formatter
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from polytask.context import CONTEXT_WORDS

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
TaskKind = Literal["retrieval", "multiclass", "multilabel", "binary", "regression"]
ColumnType = Literal["string", "integer", "float", "string_list"]


class Section(BaseModel):
    """A part of the scenario: immutable, and no field that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Column(Section):
    """One column of a table after ingest. `min` and `max` bound numbers; `nullable` allows missing values."""

    type: ColumnType
    nullable: bool = False
    min: float | None = None
    max: float | None = None


class Source(Section):
    """Where the three tables come from. `tables` reads users, items and interactions as Parquet or CSV from `path`."""

    kind: Literal["movielens", "tables"]
    path: str | None = None

    @model_validator(mode="after")
    def _path_where_needed(self) -> Self:
        if (self.kind == "tables") != (self.path is not None):
            raise ValueError(f"`path` is needed with kind 'tables' and only there; kind is {self.kind!r}")
        return self


class Validation(Section):
    """What ingest tolerates: the share of bad rows in a table that are dropped and counted before the run stops."""

    max_bad_share: float = Field(default=0.0, ge=0, lt=1)
    earliest: str = "1970-01-02T00:00:00Z"
    latest: str | None = None


class Table(Section):
    """A table of entities: its key column and its other columns."""

    key: Name
    key_type: Literal["integer", "string"] = "integer"
    columns: dict[Name, Column] = {}


class Interactions(Section):
    """The table of events. It holds both keys, a timestamp and any other columns, such as a rating."""

    timestamp: Name = "timestamp"
    columns: dict[Name, Column] = {}


class Entities(Section):
    """The three tables."""

    users: Table
    items: Table
    interactions: Interactions = Interactions()


class Text(Section):
    """Templates that turn rows into the texts the language model reads. `{column}` stands for a value.

    `request` may use `{profile}` and the words of the time context; `request_with_query` may also use `{query}`.
    `queries` are templates over item columns: training shows them on a share of positions in place of a typed query.
    `words` replaces raw values of a column by words before they enter any template.
    """

    item: str
    profile: str
    request: str
    request_with_query: str
    queries: tuple[str, ...] = ()
    words: dict[Name, dict[str, str]] = {}
    max_tokens: int = Field(default=32, ge=8, le=512)


class Features(Section):
    """What Feast serves. The feature service is named `<scenario>_v<version>`."""

    version: int = Field(default=1, ge=1)
    profile: tuple[Name, ...]
    history_length: int = Field(default=50, ge=1, le=1000)
    seen_length: int = Field(default=768, ge=1, le=10_000)
    profile_ttl_days: float = Field(gt=0)
    history_ttl_days: float = Field(gt=0)
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("allowed: an IANA time zone such as 'UTC' or 'Europe/Berlin'") from error
        return value


class Condition(Section):
    """A condition on an interaction's number: it holds where `column` >= `at_least`."""

    column: Name
    at_least: float


class Label(Section):
    """What a task predicts for an interaction.

    `interaction`: a column of the event itself; `item`: a column of the event's item; `peers`: the other users with an
    interaction on the event's item. `where` masks the events (and the peers' events) on which it does not hold.
    """

    source: Literal["interaction", "item", "peers"]
    column: Name | None = None
    where: Condition | None = None


class Task(Section):
    """One question the model answers. Its tensors are named after it."""

    name: Name
    title: str
    kind: TaskKind
    label: Label
    catalogue: Literal["items", "users"] | None = None
    classes: tuple[str, ...] | None = None
    top_k: int = Field(default=50, ge=1, le=1000)
    weight: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _catalogue_or_classes(self) -> Self:
        if (self.kind == "retrieval") != (self.catalogue is not None):
            raise ValueError(f"`catalogue` is needed with kind 'retrieval' and only there; kind is {self.kind!r}")
        if (self.kind in ("multiclass", "multilabel")) != (self.classes is not None):
            raise ValueError(
                f"`classes` is needed with kind 'multiclass' or 'multilabel' and only there; kind is {self.kind!r}"
            )
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError("`classes` needs at least two names, each once")
        return self


class Encoder(Section):
    """The language model: a Hugging Face id, a folder, or `package:<installed package>/<folder>`."""

    model: str
    pooling: Literal["mean", "last"] = "mean"


class Model(Section):
    """Sizes of the shared encoder. `id_dropout` is the share of item rows seen by their text alone in training."""

    dim: int = Field(default=64, ge=8, le=1024)
    layers: int = Field(default=2, ge=1, le=12)
    heads: int = Field(default=2, ge=1, le=16)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    id_dropout: float = Field(default=0.1, ge=0, lt=1)
    fusion: Literal["concat"] = "concat"

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"`heads` must divide `dim`; {self.heads} does not divide {self.dim}")
        return self


class Training(Section):
    """AdamW with a one-cycle schedule over windows of consecutive events of one user."""

    epochs: int = Field(default=20, ge=1, le=1000)
    windows_per_batch: int = Field(default=48, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    query_share: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=7, ge=0, lt=2**31)
    threads: int = Field(default=2, ge=1)


class Scenario(Section):
    """A whole recommendation problem: data, texts, features, tasks, encoder, training."""

    name: Name
    title: str
    source: Source
    validation: Validation = Validation()
    entities: Entities
    text: Text
    features: Features
    tasks: tuple[Task, ...] = Field(min_length=1)
    encoder: Encoder
    model: Model = Model()
    training: Training = Training()

    @property
    def feature_service(self) -> str:
        """Name of the Feast feature service that training and serving read."""
        return f"{self.name}_v{self.features.version}"

    def task(self, name: str) -> Task:
        """The task called `name`; KeyError names the tasks there are."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(f"no task {name!r}; there are {', '.join(t.name for t in self.tasks)}")

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        users, items = self.entities.users.columns, self.entities.items.columns
        interactions = self.entities.interactions.columns
        _check_names("tasks", [task.name for task in self.tasks])
        _check_known("features.profile", self.features.profile, users)
        _check_template("text.item", self.text.item, items)
        _check_template("text.profile", self.text.profile, self.features.profile)
        _check_template("text.request", self.text.request, ["profile", *CONTEXT_WORDS])
        _check_template("text.request_with_query", self.text.request_with_query, ["query", "profile", *CONTEXT_WORDS])
        for position, query in enumerate(self.text.queries):
            _check_template(f"text.queries.{position}", query, items)
        for position, task in enumerate(self.tasks):
            where = f"tasks.{position}.label"
            if task.label.source == "peers":
                if task.label.column is not None:
                    raise ValueError(f"{where}.column: {task.label.column!r}; a label from peers has no column")
            else:
                allowed = {"interaction": [*interactions, self.entities.items.key], "item": [*items]}
                _check_known(f"{where}.column", [task.label.column or "nothing"], allowed[task.label.source])
            if task.label.where is not None:
                _check_known(f"{where}.where.column", [task.label.where.column], interactions)
        return self


def _check_names(where: str, names: list[str]) -> None:
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"{where}: {', '.join(doubled)} stands there twice; each name is allowed once")


def _check_known(where: str, names: Iterable[str], allowed: Collection[str]) -> None:
    for name in names:
        if name not in allowed:
            raise ValueError(f"{where}: {name!r} is not a known column; allowed: {', '.join(allowed)}")


def _check_template(where: str, template: str, allowed: Collection[str]) -> None:
    try:
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ValueError(f"{where}: {template!r} is not a template ({error}); allowed: text with {{column}}") from error
    for field in fields:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", field) or field not in allowed:
            raise ValueError(f"{where}: {{{field}}} is not known; allowed: {', '.join(allowed)}")
