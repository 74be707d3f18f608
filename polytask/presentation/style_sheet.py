"""The look that every page of the project has: one style sheet, which a page holds inside or is served beside."""

from pathlib import Path

STYLE_SHEET = Path(__file__).parent / "page.css"


def look() -> str:
    """The style sheet as text."""
    return STYLE_SHEET.read_text(encoding="utf-8")
