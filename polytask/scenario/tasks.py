"""The tasks of a scenario: what is predicted, and from which labels it is learned."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from polytask.scenario.kinds import KindName, describe_kinds, kind_named, kind_names, kinds_with
from polytask.scenario.names import INTERACTIONS, ITEMS
from polytask.scenario.section import Name, Section

# The gate of a task that is compared with the live model only.
NO_GATE = "none"


class Condition(Section):
    """A condition on a number of an interaction: `column` >= `at_least`."""

    column: Name = Field(
        description="Column of `entities.interactions` with a number.",
        examples=["rating"],
    )
    at_least: float = Field(
        description="Smallest value that fulfils the condition, in the unit of the column. A missing value does not "
        "fulfil it.",
        examples=[4],
    )


class Label(Section):
    """The label of a task: the value that the task predicts for an interaction."""

    source: Literal["interaction", "item"] | None = Field(
        default=None,
        description="Source of the label. `interaction`: a column of the event. `item`: a column of the item of the "
        "event. Required; not allowed in a task of kind `co_interaction`, which has no column.",
        examples=["interaction"],
    )
    column: Name | None = Field(
        default=None,
        description="Column of the label. Required with a source. In a task of kind `retrieval` it is the key of the "
        "items.",
        examples=["rating"],
    )
    at_least: float | None = Field(
        default=None,
        description="Threshold that converts a number of the event to a binary label: 1 if the number is at least "
        "this value, otherwise 0. A missing number has no label. Allowed only in a task of kind `binary`.",
        examples=[4],
    )
    where: Condition | None = Field(
        default=None,
        description="Condition that an event must fulfil to have a label. In a task of kind `co_interaction` the "
        "events of the other users must fulfil it too.",
        examples=[{"column": "rating", "at_least": 4}],
    )

    @field_validator("source", mode="before")
    @classmethod
    def _no_peers(cls, source: Any) -> Any:
        if source == "peers":
            raise ValueError("interaction or item, or `kind: co_interaction` without `label.source`")
        return source

    @property
    def table(self) -> str | None:
        """The table that has the label's column, `interactions` or `items`; None for a label without a column."""
        return {"interaction": INTERACTIONS, "item": ITEMS, None: None}[self.source]


class Task(Section):
    """One prediction task. The names of its output tensors start with its name."""

    name: Name = Field(
        description="Unique name of the task, in tensors, metrics and reports. `slate` and `priority` are reserved.",
        examples=["item"],
    )
    title: str = Field(
        description="Title of the task in reports and in the console.",
        examples=["Films to watch next"],
    )
    kind: KindName = Field(
        description="Kind of the prediction.",
        examples=["retrieval"],
        json_schema_extra=describe_kinds,
    )
    label: Label = Field(
        description="The label from which the task is trained and evaluated.",
        examples=[{"source": "interaction", "column": "item_id"}],
    )
    catalogue: Literal["items", "users"] | None = Field(
        default=None,
        description="Catalogue from which the task retrieves: `items` with kind `retrieval`, `users` with kind "
        "`co_interaction`. Required with these kinds, and allowed only there.",
        examples=["items"],
    )
    classes: tuple[str, ...] | None = Field(
        default=None,
        description="Names of the classes: at least two, each once. Required with the kinds `multiclass` and "
        "`multilabel`, and allowed only there.",
        examples=[["Tops", "Dresses", "Bottoms"]],
    )
    top_k: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Number of results that the exported model returns per request, for tasks with a `catalogue`.",
        examples=[20],
    )
    weight: float = Field(
        default=1.0,
        gt=0,
        description="Weight of the loss of the task in the total loss. `training.loss_weighting` may change it during "
        "training.",
        examples=[0.3],
    )
    added: bool = Field(
        default=False,
        description="Whether the task was added to a trained model. An added task reads the shared part of the other "
        "tasks and its own tower, and no other task reads that tower. At least one task must not be added.",
        examples=[True],
    )
    # Left out if it is None: serving does not read it, and the checksum of a contract does not change.
    baseline_gate: str | None = Field(
        default=None,
        exclude_if=lambda gate: gate is None,
        description="Baseline that a model must reach on the test split before it is deployed. The allowed names "
        "depend on the kind, for example `popularity` or `majority`; `none` turns this comparison off, but not the one "
        "with the live model. By default it is the best of the simple baselines.",
        examples=["markov"],
    )

    @model_validator(mode="after")
    def _catalogue_or_classes(self) -> Self:
        kind = kind_named(self.kind)
        if (kind.catalogue is None) != (self.catalogue is None):
            raise ValueError(
                f"`catalogue` is needed with kind {kinds_with('catalogue')} and only there; kind is {self.kind!r}"
            )
        if self.catalogue != kind.catalogue:
            fits = [name for name in kind_names() if kind_named(name).catalogue == self.catalogue]
            instead = f", or kind {' or '.join(map(repr, fits))}" if fits else ""
            raise ValueError(f"`catalogue`: invalid value {self.catalogue!r}; expected {kind.catalogue}{instead}")
        if kind.needs_classes != (self.classes is not None):
            raise ValueError(
                f"`classes` is needed with kind {kinds_with('needs_classes')} and only there; kind is {self.kind!r}"
            )
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError("`classes` needs at least two names, each once")
        if kind.reads_column != (self.label.table is not None):
            raise ValueError(
                f"`label.source` is needed with kind {kinds_with('reads_column')} and only there; kind is {self.kind!r}"
            )
        if self.baseline_gate not in (None, NO_GATE, *kind.baselines):
            raise ValueError(
                f"`baseline_gate`: {self.baseline_gate!r} is no baseline of the task; "
                f"allowed: {', '.join(kind.baselines)}, {NO_GATE}"
            )
        return self
