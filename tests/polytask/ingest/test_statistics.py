"""The statistics of a data set that can be counted by hand, and how they are shown."""

import pandas as pd
import pytest

from polytask.ingest import ingest
from polytask.ingest.statistics import DatasetStatistics, dataset_statistics
from polytask.scenario import load_scenario
from tests.small import write_small_scenario

USERS = "user_id,age,occupation\n1,20,writer\n2,30,doctor\n3,40,student\n4,50,writer\n"
# The last two have no genre: an empty list, and none at all.
ITEMS = pd.DataFrame(
    {
        "item_id": [7, 8, 9, 10],
        "title": ["A", "B", "C", "D"],
        "year": pd.array([1990, None, 1995, None], dtype="Int64"),
        "genres": [["Comedy"], ["Drama", "Horror"], [], None],
    }
)
# User 1 trains on 7, is validated on 8 and tested on 9; user 2 trains on 8 and 9 and is tested on 7; 3 only trains.
EVENTS = """user_id,item_id,timestamp,rating
1,7,2024-01-01T00:00:00Z,5
1,8,2024-01-02T00:00:00Z,4
1,9,2024-01-03T12:00:00Z,3
2,8,2024-01-01T00:00:00Z,2
2,8,2024-01-01T06:00:00Z,2
2,9,2024-01-02T00:00:00Z,1
2,7,2024-01-04T00:00:00Z,5
3,7,2024-01-05T00:00:00Z,9
3,7,2024-01-02T00:00:00Z,4
"""


@pytest.fixture(scope="module")
def statistics(tmp_path_factory) -> DatasetStatistics:
    folder = tmp_path_factory.mktemp("by_hand")
    file = write_small_scenario(folder)
    text = file.read_text().replace("max_bad_share: 0.0", "max_bad_share: 0.2")
    file.write_text(text.replace("type: string_list", "type: string_list, nullable: true"))
    (folder / "items.csv").unlink()
    ITEMS.to_parquet(folder / "items.parquet")
    for name, table in (("users", USERS), ("interactions", EVENTS)):
        (folder / f"{name}.csv").write_text(table)
    scenario = load_scenario(file)
    ingest(scenario, folder / "tables")
    return dataset_statistics(scenario, folder / "tables")


def test_counts(statistics):
    assert statistics.rows == {"users": 4, "items": 4, "interactions": 8}
    assert statistics.dropped == {"users": {}, "items": {}, "interactions": {"rating: above 5": 1}}
    assert (statistics.first_event[:10], statistics.last_event[:10], statistics.days) == (
        "2024-01-01",
        "2024-01-04",
        3.0,
    )
    assert statistics.events_per_user == {"least": 1, "median": 3, "most": 4}
    assert statistics.splits == {"train": 4, "validation": 2, "test": 2}


def test_shares(statistics):
    assert statistics.density == pytest.approx(7 / 16)  # one pair has two events
    assert statistics.cold == {
        "users_without_events": 0.25,
        "test_events_of_new_users": 0.0,
        "items_without_events": 0.25,
        "test_events_of_new_items": 0.5,  # 9 is validated on, but not trained on
    }
    assert statistics.missing == {
        "users": {"age": 0.0, "occupation": 0.0},
        "items": {"title": 0.0, "year": 0.5, "genres": 0.5},
        "interactions": {"rating": 0.0},
    }


def test_the_page_has_them_all(statistics):
    page = statistics.markdown("A | B")
    assert page.startswith("# A \\| B: the data\n")
    for line in (
        "| interactions | 8 | 1 |",
        "| interactions | rating: above 5 | 1 |",
        "| train | 4 |",
        "| test events of new items | 50.00% |",
        "| items | year | 50.00% |",
        "43.750% of all pairs of user and item have an event.",
    ):
        assert line in page.splitlines()
    assert "3.0 days. Events per user: 1 to 4, median 3." in page
    assert "| users | age" not in page


def test_metadata_is_plain(statistics):
    found = statistics.metadata()
    assert found["users_rows"] == 4
    assert found["train_events"] == 4
    assert found["median_events_per_user"] == 3
    assert (found["items_without_events"], found["density"]) == (0.25, statistics.density)
    assert {name for name, value in found.items() if isinstance(value, dict)} == {"dropped", "missing"}


def test_without_items_there_is_no_density(text_only_scenario, tmp_path):
    ingest(text_only_scenario, tmp_path / "tables")
    found = dataset_statistics(text_only_scenario, tmp_path / "tables")
    assert found.density is None
    assert "density" not in found.metadata()
    assert found.cold == {"users_without_events": 0.0, "test_events_of_new_users": 1.0}  # users are drawn, not events
    assert found.missing["interactions"]["topic"] == pytest.approx(1 / 12)
    assert "pairs of user and item" not in found.markdown("Notes")
