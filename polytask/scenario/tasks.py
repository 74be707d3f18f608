"""The scenario's tasks: what is asked, and where the answers to learn from stand."""

from typing import Literal, Self

from pydantic import Field, model_validator

from polytask.scenario.section import Name, Section

# The gate of a task that is measured beside the live model alone.
NO_GATE = "none"
# The baselines that may be a task's gate, by kind; those of a retrieval task that asks for peers stand under `peers`.
GATES: dict[str, tuple[str, ...]] = {
    "retrieval": ("popularity", "markov", "item_knn", "ease", "ials"),
    "peers": ("most_active", "user_knn"),
    "multilabel": ("popularity", "user_histogram"),
    "multiclass": ("majority", "tfidf_logistic"),
    "binary": ("majority", "user_mean", "tfidf_logistic"),
    "regression": ("mean", "user_mean", "tfidf_ridge"),
}

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

    `gate` names the baseline that a model must reach on the test split to be deployed: by default the best one of those
    that only count, `none` where there is no such bar.
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
    # Left out where it says nothing: serving does not read it, and a contract's checksum stays what it was.
    gate: str | None = Field(default=None, exclude_if=lambda gate: gate is None)

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
        gates = GATES["peers" if self.label.source == "peers" else self.kind]
        if self.gate not in (None, NO_GATE, *gates):
            raise ValueError(
                f"`gate`: {self.gate!r} is no baseline of the task; allowed: {', '.join(gates)}, {NO_GATE}"
            )
        return self
