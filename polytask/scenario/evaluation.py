"""What a scenario defines of its evaluation, and the examples that reports and the console show."""

from pydantic import Field

from polytask.scenario.section import Name, Section


class QueryCheck(Section):
    """A free-text query and the property that the recommended items should have."""

    query: str = Field(
        min_length=1,
        description="Free-text query.",
        examples=["a light-hearted comedy"],
    )
    column: Name = Field(
        description="Column of `entities.items` that is compared with `value`.",
        examples=["genres"],
    )
    value: str | tuple[str, ...] = Field(
        description="Expected value. With a list, an item matches if it has any of the values.",
        examples=["Comedy", ["Romance", "Drama"]],
    )

    @property
    def values(self) -> tuple[str, ...]:
        """The values, any of which makes an item fit."""
        return (self.value,) if isinstance(self.value, str) else self.value


class EvaluationSettings(Section):
    """What evaluation measures in addition to the metrics of the tasks."""

    queries: tuple[QueryCheck, ...] = Field(
        default=(),
        description="Queries for which evaluation measures the share of matching items among the first 10. Allowed "
        "only with items.",
        examples=[[{"query": "a light-hearted comedy", "column": "genres", "value": "Comedy"}]],
    )


class Examples(Section):
    """Requests that the demo sends."""

    queries: tuple[str, ...] = Field(
        default=(),
        description="Free-text queries, as a user may type them.",
        examples=[["a scary ghost story"]],
    )
    contexts: tuple[dict[Name, str], ...] = Field(
        default=(),
        description="Context features of requests: values of the columns in `features.context`.",
        examples=[[{"place": "home", "weather": "rain"}]],
    )
