"""The text templates and the features of a scenario."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from polytask.scenario.section import Name, Section


class Text(Section):
    """Templates that format rows as the strings that the language model encodes.

    `{column}` in a template is replaced by the value of that column; a missing value is left out.
    """

    item: str | None = Field(
        default=None,
        description="Template of an item's text, over the columns of `entities.items`. Required if there are items, "
        "and allowed only then.",
        examples=["{title}. {genres}"],
    )
    profile: str = Field(
        description="Template of a user's profile text, over the columns in `features.profile`.",
        examples=["{age} year old {gender}, {occupation}"],
    )
    request: str = Field(
        description="Template of the request text of a request without a query. It may use `{profile}`, the time "
        "features `{daypart}` and `{weekpart}`, and the context features in `features.context`.",
        examples=["{profile}, {weekpart} {daypart}"],
    )
    request_with_query: str = Field(
        description="Template of the request text of a request with a free-text query. It may use `{query}` and "
        "everything that `request` may use.",
        examples=["{query}, {weekpart} {daypart}"],
    )
    queries: tuple[str, ...] = Field(
        default=(),
        description="Templates of queries over the columns of `entities.items`, except the title. In training a share "
        "`training.query_probability` of the positions gets a query that is made of the next item.",
        examples=[["a {genres} film", "something {genres}"]],
    )
    words: dict[Name, dict[str, str]] = Field(
        default_factory=dict,
        description="Replacements of raw values, by column and value. They apply in every template.",
        examples=[{"gender": {"M": "man", "F": "woman"}}],
    )
    query_words: dict[Name, dict[str, tuple[str, ...]]] = Field(
        default_factory=dict,
        description="Synonyms of raw values, by column and value. In `queries` each value is replaced by each of its "
        "synonyms, in place of its entry in `words`.",
        examples=[{"genres": {"Comedy": ["comedy", "funny"]}}],
    )
    max_tokens: int = Field(
        default=32,
        ge=8,
        le=512,
        description="Maximum length of a text, in tokens of the language model. Longer texts are truncated at the end.",
        examples=[144],
    )
    user_titles: bool = Field(
        default=False,
        description="Whether a user that a task lists is shown with the `profile` text, in responses, batch results, "
        "reports and the console, to every caller (docs/adr/0052-titles-of-users.md). If false, only keys of users "
        "are shown.",
        examples=[True],
    )


class FeatureSettings(Section):
    """The features of a user and of a request. Feast serves profile and history as `<scenario>_v<version>`."""

    version: int = Field(
        default=1,
        ge=1,
        description="Version of the feature service. Increase it if the meaning of a served feature changes, so that "
        "models of the previous version do not read the new features.",
        examples=[2],
    )
    profile: tuple[Name, ...] = Field(
        description="Columns of `entities.users` that Feast serves as the profile of a user.",
        examples=[["age", "gender", "occupation"]],
    )
    context: tuple[Name, ...] = Field(
        default=(),
        description="Columns of `entities.interactions`, of type `string`, that are known at request time, such as "
        "place and weather. Training reads them from the event; a request contains them. Feast does not store them.",
        examples=[["place", "weather"]],
    )
    history_length: int = Field(
        default=50,
        ge=1,
        le=1000,
        description="Number of the most recent items of a user that the model reads. It has no effect without items.",
        examples=[20],
    )
    exclude_length: int = Field(
        default=768,
        ge=1,
        le=10_000,
        description="Number of the most recent items of a user that are excluded from recommendations. It has no "
        "effect without items.",
        examples=[256],
    )
    disliked_length: int = Field(
        default=16,
        ge=0,
        le=256,
        description="Maximum number of disliked items in a request. With 0 the model has no such input.",
        examples=[0],
    )
    profile_ttl_days: float = Field(
        gt=0,
        description="Time to live of profiles and items in Feast, in days. Feast does not return older values.",
        examples=[30],
    )
    history_ttl_days: float | None = Field(
        default=None,
        gt=0,
        description="Time to live of histories in Feast, in days. Feast does not return older histories. Required if "
        "there are items, and allowed only then.",
        examples=[90],
    )
    timezone: str = Field(
        default="UTC",
        description="IANA time zone in which the time features `{daypart}` and `{weekpart}` are computed.",
        examples=["Europe/Berlin"],
    )

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError("allowed: an IANA time zone such as 'UTC' or 'Europe/Berlin'") from error
        return value
