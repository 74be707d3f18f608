"""What the sections of a scenario have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

NAME_PATTERN = r"^[a-z][a-z0-9_]*$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=40)]


class Section(BaseModel):
    """A part of the scenario: immutable, and no field that is not known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
