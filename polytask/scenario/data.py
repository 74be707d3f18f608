"""The scenario's data: where it comes from, its tables, its texts, what Feast serves of it, and how it is split."""

from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator, model_validator

from polytask.scenario.section import Name, Section

ColumnType = Literal["string", "integer", "float", "string_list"]


class Column(Section):
    """One column of a table after ingest. `min` and `max` bound numbers; `nullable` allows missing values.

    `personal` says whether values may be shown in logs and errors. By default the columns of users are personal, those
    of items and interactions are not; the users' key always is.
    """

    type: ColumnType
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    # A matter of what is shown, and not of the model: no contract, checkpoint or training state knows of it.
    personal: bool | None = Field(default=None, exclude=True)


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
    columns: dict[Name, Column] = Field(default_factory=dict)

    @property
    def title_column(self) -> str | None:
        """The column that names an entity in answers: the first text column, None where there is none."""
        return next((name for name, column in self.columns.items() if column.type == "string"), None)


class Interactions(Section):
    """The table of events. It holds the keys of the other tables, a timestamp and other columns, such as a rating."""

    timestamp: Name = "timestamp"
    columns: dict[Name, Column] = Field(default_factory=dict)


class Entities(Section):
    """The three tables: who or what asks, what can be recommended (none where nothing is), and the events."""

    users: Table
    items: Table | None = None
    interactions: Interactions = Interactions()


class Text(Section):
    """Templates that turn rows into the texts the language model reads. `{column}` stands for a value.

    `request` may use `{profile}`, the words of the time context and those of `features.context`; `request_with_query`
    may also use `{query}`.
    `queries` are templates over item columns: training shows them on a share of positions in place of a typed query.
    `words` replaces raw values of a column by words before they enter any template; `query_words` has several ways to
    say a value in `queries`, each of which is shown. `item` is needed with items.
    With `user_titles`, a user that a task lists is shown with its `profile` text, in responses, batch results, reports
    and the console, to every caller (docs/adr/0052-titles-of-users.md). Otherwise only keys of users are
    shown.
    """

    item: str | None = None
    profile: str
    request: str
    request_with_query: str
    queries: tuple[str, ...] = ()
    words: dict[Name, dict[str, str]] = Field(default_factory=dict)
    query_words: dict[Name, dict[str, tuple[str, ...]]] = Field(default_factory=dict)
    max_tokens: int = Field(default=32, ge=8, le=512)
    user_titles: bool = False


class Features(Section):
    """What Feast serves. The feature service is named `<scenario>_v<version>`.

    `context` names text columns of the interactions that are known when a request is made, such as place and weather.
    Feast does not hold them: training takes them from the event, and a request brings them itself.
    The history's lengths and `history_ttl_days` say something only where there are items; the last is needed then.
    `negative_length` is how many items a request may want less of; 0 leaves that input out of the model.
    """

    version: int = Field(default=1, ge=1)
    profile: tuple[Name, ...]
    context: tuple[Name, ...] = ()
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
