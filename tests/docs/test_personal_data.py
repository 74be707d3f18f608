"""The page about personal data lists the places that `polytask forget` knows, and links lead to it."""

from pathlib import Path

from polytask.personal.places import PLACES, places_table

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "personal-data.md"
BEGIN, END = "<!-- places -->\n", "<!-- end of places -->"


def test_the_table_of_places_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    written = page[page.index(BEGIN) + len(BEGIN) : page.index(END)]
    assert written == f"{places_table()}\n", (
        "write it again: python -m tests.docs.test_personal_data (between the two marks of docs/personal-data.md)"
    )


def test_each_place_is_named_once() -> None:
    names = [place.name for place in PLACES]
    assert len(set(names)) == len(names)
    assert all((place.where, place.holds, place.kept, place.forget) for place in PLACES)


def test_the_page_is_linked() -> None:
    for page in (DOCS / "index.md", DOCS / "security.md", DOCS / "operate.md", DOCS.parent / "README.md"):
        assert "personal-data.md" in page.read_text(encoding="utf-8"), page


def write() -> None:
    page = PAGE.read_text(encoding="utf-8")
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    PAGE.write_text(f"{page[:begin]}{places_table()}\n{page[end:]}", encoding="utf-8")


if __name__ == "__main__":
    write()
