"""The scenario's tasks: what is asked, and where the answers to learn from stand."""

from typing import Literal, Self

from pydantic import Field, model_validator

from polytask.scenario.section import Name, Section

TaskKind = Literal["retrieval", "multiclass", "multilabel", "binary", "regression"]


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
