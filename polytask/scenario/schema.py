"""The scenario as pydantic models: every field, its type and its bounds. `checks.py` has the checks across fields."""

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from polytask.errors import ScenarioError
from polytask.scenario.checks import check_scenario

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
    """Where the tables come from. `tables` reads users, items (if any), interactions, Parquet or CSV, from `path`."""

    kind: Literal["movielens", "reviews", "tables"]
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

    @property
    def title_column(self) -> str | None:
        """The column that names an entity in answers: the first text column, None where there is none."""
        return next((name for name, column in self.columns.items() if column.type == "string"), None)


class Interactions(Section):
    """The table of events. It holds the keys of the other tables, a timestamp and other columns, such as a rating."""

    timestamp: Name = "timestamp"
    columns: dict[Name, Column] = {}


class Entities(Section):
    """The three tables: who or what asks, what can be recommended (none where nothing is), and the events."""

    users: Table
    items: Table | None = None
    interactions: Interactions = Interactions()


class Text(Section):
    """Templates that turn rows into the texts the language model reads. `{column}` stands for a value.

    `request` may use `{profile}` and the words of the time context; `request_with_query` may also use `{query}`.
    `queries` are templates over item columns: training shows them on a share of positions in place of a typed query.
    `words` replaces raw values of a column by words before they enter any template; `query_words` has several ways to
    say a value in `queries`, each of which is shown. `item` is needed with items.
    """

    item: str | None = None
    profile: str
    request: str
    request_with_query: str
    queries: tuple[str, ...] = ()
    words: dict[Name, dict[str, str]] = {}
    query_words: dict[Name, dict[str, tuple[str, ...]]] = {}
    max_tokens: int = Field(default=32, ge=8, le=512)


class Features(Section):
    """What Feast serves. The feature service is named `<scenario>_v<version>`.

    The history's lengths and `history_ttl_days` say something only where there are items; the last is needed then.
    `negative_length` is how many items a request may want less of; 0 leaves that input out of the model.
    """

    version: int = Field(default=1, ge=1)
    profile: tuple[Name, ...]
    history_length: int = Field(default=50, ge=1, le=1000)
    seen_length: int = Field(default=768, ge=1, le=10_000)
    negative_length: int = Field(default=16, ge=0, le=256)
    profile_ttl_days: float = Field(gt=0)
    history_ttl_days: float | None = Field(default=None, gt=0)
    timezone: str = "UTC"

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("allowed: an IANA time zone such as 'UTC' or 'Europe/Berlin'") from error
        return value


class Split(Section):
    """Which events are asked about.

    `last_events`: each user's last event is the test, the one before it the validation. `shares`: these shares of the
    users, drawn by a hash of their key and `seed`, with all their events; the only kind where there is no history.
    """

    kind: Literal["last_events", "shares"] = "last_events"
    validation: float | None = Field(default=None, gt=0, lt=1)
    test: float | None = Field(default=None, gt=0, lt=1)
    seed: int = 0

    @model_validator(mode="after")
    def _shares_where_needed(self) -> Self:
        for name, share in (("validation", self.validation), ("test", self.test)):
            if (self.kind == "shares") != (share is not None):
                raise ValueError(f"`{name}` is needed with kind 'shares' and only there; kind is {self.kind!r}")
        if (self.validation or 0) + (self.test or 0) >= 1:
            raise ValueError(f"`validation` {self.validation} and `test` {self.test} leave nothing to train on")
        return self


class Condition(Section):
    """A condition on an interaction's number: it holds where `column` >= `at_least`."""

    column: Name
    at_least: float


class Label(Section):
    """What a task predicts for an interaction.

    `interaction`: a column of the event itself; `item`: a column of the event's item; `peers`: the other users with an
    interaction on the event's item. `where` masks the events (and the peers' events) on which it does not hold.
    `at_least` turns a number of the event into yes (the number is at least this) or no, for a task of kind `binary`; a
    missing number is neither, and masked.
    """

    source: Literal["interaction", "item", "peers"]
    column: Name | None = None
    at_least: float | None = None
    where: Condition | None = None


class Task(Section):
    """One question the model answers. Its tensors are named after it.

    Tasks are trained together. One that is `added` came to a trained model later: it reads the shared part of the
    others and a tower of its own, and no other task reads that tower.
    """

    name: Name
    title: str
    kind: TaskKind
    label: Label
    catalogue: Literal["items", "users"] | None = None
    classes: tuple[str, ...] | None = None
    top_k: int = Field(default=50, ge=1, le=1000)
    weight: float = Field(default=1.0, gt=0)
    added: bool = False

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


class Lora(Section):
    """Low-rank adapters beside the linear layers called `targets`; `auto` takes all linear layers."""

    rank: int = Field(default=8, ge=1, le=1024)
    alpha: int = Field(default=16, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    targets: Literal["auto"] | tuple[str, ...] = "auto"


class Encoder(Section):
    """The language model: a Hugging Face id, a folder, or `package:<installed package>/<folder>`.

    `layers`: the text vector holds the pooled states after each of these layers, side by side, counted from 1; by
    default those after the last. In a sentence encoder the last layer knows best what a text is about, an earlier one
    how it judges.
    `training`: whether it stays as it is, learns through adapters (see `lora`), or learns whole; `learning_rate` is its
    own then (by default 2e-4 for adapters and 2e-5 for the whole).
    """

    model: str
    pooling: Literal["mean", "last"] = "mean"
    layers: tuple[Annotated[int, Field(ge=1)], ...] = ()
    training: Literal["frozen", "lora", "full"] = "frozen"
    learning_rate: float | None = Field(default=None, gt=0)
    lora: Lora = Lora()


class Model(Section):
    """Sizes of the shared encoder. `id_dropout` is the share of item rows seen by their text alone in training.

    `negative_strength` is how far items like the negative items of a request are lowered, in standard deviations of the
    request's scores (docs/adr/0012-less-of-this.md has what the default was chosen by).
    `fusion` says how tasks share what follows the encoder; `experts` counts the experts of `mmoe`.
    """

    dim: int = Field(default=64, ge=8, le=1024)
    layers: int = Field(default=2, ge=1, le=12)
    heads: int = Field(default=2, ge=1, le=16)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    id_dropout: float = Field(default=0.1, ge=0, lt=1)
    negative_strength: float = Field(default=0.5, ge=0, le=10)
    fusion: Literal["concat", "shared_bottom", "mmoe"] = "concat"
    experts: int = Field(default=4, ge=2, le=64)

    @model_validator(mode="after")
    def _heads_divide_dim(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"`heads` must divide `dim`; {self.heads} does not divide {self.dim}")
        return self


class Training(Section):
    """AdamW with a one-cycle schedule over windows of consecutive events of one user.

    `weighting` says how the tasks' weights change while training: not (`static`), by learned uncertainty (Kendall et
    al., 2018), or by how slowly each loss falls (`dwa`, dynamic weight average; Liu et al., 2019). `precision` is that
    of matrix products: `auto` takes bf16 on a GPU that has it and fp32 elsewhere.
    """

    epochs: int = Field(default=20, ge=1, le=1000)
    windows_per_batch: int = Field(default=48, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    weighting: Literal["static", "uncertainty", "dwa"] = "static"
    query_share: float = Field(default=0.3, ge=0, le=1)
    seed: int = Field(default=7, ge=0, lt=2**31)
    threads: int = Field(default=2, ge=1)
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class QueryCheck(Section):
    """A free-text query, and what the listed items should have: one of these values in `column`."""

    query: str = Field(min_length=1)
    column: Name
    value: str | tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """The values, any of which makes an item fit."""
        return (self.value,) if isinstance(self.value, str) else self.value


class Evaluation(Section):
    """What evaluation measures beside each task's own metrics."""

    queries: tuple[QueryCheck, ...] = ()


class Examples(Section):
    """What the demo asks: free-text queries, such as a user might type."""

    queries: tuple[str, ...] = ()


Precision = Literal["auto", "fp32", "int8", "fp16"]


class Export(Section):
    """How a trained model is written for serving.

    `precision` is that of the language model: `auto` tries int8, or fp16 where the export is for a GPU. Whatever is
    tried must pass a gate on the validation requests, or else it is fp32 (docs/adr/0026-int8-by-row.md).
    """

    precision: Precision = "auto"


class Scenario(Section):
    """A whole recommendation problem: data, texts, features, tasks, encoder, training."""

    name: Name
    title: str
    source: Source
    validation: Validation = Validation()
    entities: Entities
    text: Text
    features: Features
    split: Split = Split()
    tasks: tuple[Task, ...] = Field(min_length=1)
    encoder: Encoder
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    export: Export = Export()
    examples: Examples = Examples()

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

    @property
    def has_items(self) -> bool:
        """Whether there is a catalogue of items, and with it a history of each user."""
        return self.entities.items is not None

    @property
    def takes_negatives(self) -> bool:
        """Whether a request may name items that it wants less of."""
        return self.has_items and self.features.negative_length > 0

    @property
    def items(self) -> Table:
        """The items' table, for what is done only where `has_items`."""
        if self.entities.items is None:
            raise ScenarioError(f"entities.items: scenario {self.name!r} has none")
        return self.entities.items

    def label_bounds(self, task: Task) -> tuple[float | None, float | None]:
        """`min` and `max` of the column that a task's label comes from; None where there is none."""
        interactions, items = self.entities.interactions.columns, self.entities.items
        columns = interactions if task.label.source == "interaction" or items is None else items.columns
        column = columns.get(task.label.column or "")
        return (None, None) if column is None else (column.min, column.max)

    @property
    def lists_users(self) -> bool:
        """Whether a task answers with users, so that the model has a vector for each."""
        return any(task.catalogue == "users" for task in self.tasks)

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        check_scenario(self)
        return self
