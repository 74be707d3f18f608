"""Women's Clothing E-Commerce reviews: each review is a user; the ratings of its author are the events.

The data has no customers and no times. A review takes the place of the user, and rows get timestamps in file order, a
minute apart, from an arbitrary start: no feature depends on the time.
"""

from pathlib import Path

import pandas as pd

from polytask.data.tables import Tables
from polytask.ingest.widedeep import read_data
from polytask.scenario.schema import Scenario

FOLDER = "reviews"
NOTES = (
    "the source has no times: rows are stamped in file order, one minute apart, from 2000-01-01",
    "the source has no ids: a review's key is the number of the first row with its text, so that repeats are doubled",
    "classes of one or two reviews (Casual bottoms, Chemises) count as missing",
)
FIRST_STAMP = pd.Timestamp("2000-01-01T00:00:00Z")
TOO_RARE = ("Casual bottoms", "Chemises")


def read_reviews(scenario: Scenario, cache: Path | None) -> Tables:
    """Reviews with `review_id`, `age`, `title`, `review`; events with `rating`, `recommended`, `department`, `class`.

    Both in file order, without items. A text that occurs before has the key and the stamp of its first row:
    ingest then drops it as a doubled key and, where the author rated it the same, its event as a doubled row.
    """
    [raw] = read_data(FOLDER, "WomensClothingE-CommerceReviews", ("",), cache)
    text = raw["Review Text"].str.strip()
    row = pd.Series(range(1, len(raw) + 1), index=raw.index)
    key = row.groupby(text).transform("first").fillna(row).astype("int64")
    users = pd.DataFrame({"review_id": key, "age": raw["Age"], "title": raw["Title"], "review": text})
    interactions = pd.DataFrame(
        {
            "review_id": key,
            "timestamp": FIRST_STAMP + pd.to_timedelta(key, unit="min"),
            "rating": raw["Rating"].astype("float64"),
            "recommended": raw["Recommended IND"],
            "department": raw["Department Name"],
            "class": raw["Class Name"].where(~raw["Class Name"].isin(TOO_RARE)),
        }
    )
    return Tables(users, None, interactions)
