"""What the checks find."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: the document, the field path, the value and what is allowed."""

    document: str
    path: str
    message: str

    def __str__(self) -> str:
        place = f" {self.path}" if self.path else ""
        return f"{self.document}{place}: {self.message}"


def name_of(document: Document) -> str:
    """`Kind/name`, as problems call a document."""
    metadata = document.get("metadata")
    name = metadata.get("name", "?") if isinstance(metadata, Mapping) else "?"
    return f"{document.get('kind', '?')}/{name}"
