"""The data of a scenario: source, validation, tables and split."""

from typing import Literal, Self

from pydantic import Field, model_validator

from polytask.scenario.section import Name, Section

ColumnType = Literal["string", "integer", "float", "string_list"]


class Column(Section):
    """One column of a table after ingest: its type, the allowed values, and whether its values are personal data."""

    type: ColumnType = Field(
        description="Type of the values. `string_list` is a list of strings, such as the genres of a film.",
        examples=["integer"],
    )
    nullable: bool = Field(
        default=False,
        description="Whether a value may be missing. If false, a row without a value is a bad row.",
        examples=[True],
    )
    min: float | None = Field(
        default=None,
        description="Smallest allowed value of a number, in the unit of the column. A row below it is a bad row. "
        "Without a value there is no lower limit.",
        examples=[1],
    )
    max: float | None = Field(
        default=None,
        description="Largest allowed value of a number, in the unit of the column. A row above it is a bad row. "
        "Without a value there is no upper limit.",
        examples=[5],
    )
    # A matter of what is shown, and not of the model: no contract, checkpoint or training state knows of it.
    personal: bool | None = Field(
        default=None,
        exclude=True,
        description="Whether the values are personal data, which logs, errors and previews do not show. By default "
        "the columns of `users` are personal and those of `items` and `interactions` are not. The key of the users is "
        "always personal.",
        examples=[True],
    )


class Source(Section):
    """The source from which ingest reads the tables."""

    kind: Literal["movielens", "reviews", "tables"] = Field(
        description="Reader of the source. `movielens` reads MovieLens-100K, `reviews` reads Women's Clothing "
        "E-Commerce reviews, and `tables` reads your own Parquet or CSV files from `path`.",
        examples=["tables"],
    )
    path: str | None = Field(
        default=None,
        description="Folder with the tables `users`, `items` (if there are items) and `interactions`, as Parquet or "
        "CSV files. A relative path is resolved from the working directory. Required with kind `tables`, and allowed "
        "only there.",
        examples=["build/samples/ecommerce"],
    )

    @model_validator(mode="after")
    def _path_where_needed(self) -> Self:
        if (self.kind == "tables") != (self.path is not None):
            raise ValueError(f"`path` is needed with kind 'tables' and only there; kind is {self.kind!r}")
        return self


class DataValidation(Section):
    """Limits of the data validation in ingest."""

    max_bad_share: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Largest share of bad rows in a table, from 0 to 1. Up to this share, ingest drops bad rows and "
        "reports their number. Above it, the run stops with an error.",
        examples=[0.001],
    )
    earliest: str = Field(
        default="1970-01-02T00:00:00Z",
        description="Earliest allowed time of an event, as an ISO 8601 time. Without an offset it is UTC.",
        examples=["1995-01-01T00:00:00Z"],
    )
    latest: str | None = Field(
        default=None,
        description="Latest allowed time of an event, as an ISO 8601 time. Without an offset it is UTC. Without a "
        "value, an event must not be in the future.",
        examples=["1999-01-01T00:00:00Z"],
    )


class Table(Section):
    """A table of entities: its key column and its other columns."""

    key: Name = Field(
        description="Name of the column with the unique key of each row. `interactions` refers to it by this name.",
        examples=["user_id"],
    )
    key_type: Literal["integer", "string"] = Field(
        default="integer",
        description="Type of the keys in the table, in requests and in responses.",
        examples=["string"],
    )
    columns: dict[Name, Column] = Field(
        default_factory=dict,
        description="The other columns that ingest reads, by name. In `items` the first column of type `string` is "
        "the title of an item in responses and reports.",
        examples=[{"age": {"type": "integer", "min": 1, "max": 120}}],
    )

    @property
    def title_column(self) -> str | None:
        """The column with an entity's title in responses: the first text column, None if there is none."""
        return next((name for name, column in self.columns.items() if column.type == "string"), None)


class Interactions(Section):
    """The table of events. It has the key of the user, the key of the item if there are items, and a timestamp."""

    timestamp: Name = Field(
        default="timestamp",
        description="Name of the column with the time of the event.",
        examples=["watched_at"],
    )
    columns: dict[Name, Column] = Field(
        default_factory=dict,
        description="The other columns that ingest reads, by name: labels of tasks and context features.",
        examples=[{"rating": {"type": "float", "min": 1, "max": 5}}],
    )


class Entities(Section):
    """The tables: users, items and interactions."""

    users: Table = Field(
        description="The table of users: the persons, or other entities, for which predictions are requested.",
        examples=[{"key": "user_id", "columns": {"age": {"type": "integer"}}}],
    )
    items: Table | None = Field(
        default=None,
        description="The table of items that can be recommended. Leave it out if the tasks only classify or score; "
        "then there is no history and no task with a `catalogue`.",
        examples=[{"key": "item_id", "columns": {"title": {"type": "string"}}}],
    )
    interactions: Interactions = Field(
        default=Interactions(),
        description="The table of events between users and items, from which the model is trained.",
        examples=[{"timestamp": "timestamp", "columns": {"rating": {"type": "float"}}}],
    )


class Split(Section):
    """How the events are split into training, validation and test."""

    kind: Literal["leave_one_out", "user_holdout"] = Field(
        default="leave_one_out",
        description="`leave_one_out` takes the last event of each user as test and the event before it as validation; "
        "users with fewer than three events are only in training. `user_holdout` takes a share of the users with all "
        "their events, and is the only kind that is allowed without items.",
        examples=["user_holdout"],
    )
    validation: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of the users in the validation split, between 0 and 1. Required with kind `user_holdout`, "
        "and allowed only there.",
        examples=[0.1],
    )
    test: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of the users in the test split, between 0 and 1. Required with kind `user_holdout`, and "
        "allowed only there.",
        examples=[0.1],
    )
    seed: int = Field(
        default=0,
        description="Seed of the hash of the user keys that assigns users to splits with kind `user_holdout`. New data "
        "does not move a user to another split.",
        examples=[7],
    )

    @model_validator(mode="after")
    def _shares_where_needed(self) -> Self:
        for name, share in (("validation", self.validation), ("test", self.test)):
            if (self.kind == "user_holdout") != (share is not None):
                raise ValueError(f"`{name}` is needed with kind 'user_holdout' and only there; kind is {self.kind!r}")
        if (self.validation or 0) + (self.test or 0) >= 1:
            raise ValueError(f"`validation` {self.validation} and `test` {self.test} leave nothing to train on")
        return self
