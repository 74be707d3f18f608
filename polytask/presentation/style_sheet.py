"""The style sheet that every page of the project uses, embedded in the page or served next to it."""

from pathlib import Path

STYLE_SHEET = Path(__file__).parent / "page.css"


def look() -> str:
    """The style sheet as text."""
    return STYLE_SHEET.read_text(encoding="utf-8")
