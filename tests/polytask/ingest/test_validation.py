"""Each rule of ingest against small tables with one thing broken."""

import re

import numpy as np
import pandas as pd
import pytest

from polytask.data.tables import Tables
from polytask.errors import DataError, ScenarioError
from polytask.ingest.run import clean


@pytest.fixture
def raw(tables: Tables) -> Tables:
    """The small tables as a source brings them."""
    return Tables(tables.users.copy(), tables.items.copy(), tables.interactions.drop(columns="event_id"))


@pytest.fixture
def tolerant(small_scenario):
    return small_scenario.model_copy(
        update={"data_validation": small_scenario.data_validation.model_copy(update={"max_bad_share": 0.5})}
    )


def broken(raw: Tables, table: str, row: int, column: str, value: object) -> Tables:
    frame = getattr(raw, table).astype({column: object})
    frame.at[row, column] = value
    return raw._replace(**{table: frame})


RULES = [
    ("users", "user_id", "ten", "user_id: not an integer"),
    ("users", "user_id", None, "user_id: missing"),
    ("users", "user_id", 20, "user_id: doubled key"),
    ("users", "age", "old", "age: not an integer"),
    ("users", "age", 31.5, "age: not an integer"),
    ("users", "age", None, "age: missing"),
    ("users", "age", 0, "age: below 1"),
    ("users", "age", 121, "age: above 120"),
    ("users", "occupation", None, "occupation: missing"),
    ("items", "title", "  ", "title: empty text"),
    ("items", "genres", 5, "genres: not a list of texts"),
    ("items", "genres", None, "genres: missing"),
    ("items", "item_id", 7, "item_id: doubled key"),
    ("interactions", "rating", "good", "rating: not a number"),
    ("interactions", "rating", np.inf, "rating: not a number"),
    ("interactions", "rating", 5.5, "rating: above 5"),
    ("interactions", "user_id", 999, "user_id: not a known key"),
    ("interactions", "item_id", 999, "item_id: not a known key"),
    ("interactions", "timestamp", "yesterday", "timestamp: not a time"),
    ("interactions", "timestamp", None, "timestamp: missing"),
    ("interactions", "timestamp", "1969-12-31T00:00:00Z", "timestamp: before 1970-01-02T00:00:00+00:00"),
    ("interactions", "timestamp", "2200-01-01T00:00:00Z", "timestamp: in the future"),
    ("interactions", "timestamp", 1.7e12, "timestamp: not a time"),  # milliseconds, read as seconds
]


@pytest.mark.parametrize(("table", "column", "value", "reason"), RULES)
def test_bad_row_stops_the_run_and_is_named(small_scenario, raw, table, column, value, reason):
    row = 4
    with pytest.raises(DataError) as error:
        clean(small_scenario, broken(raw, table, row, column, value))
    message = str(error.value)
    bad = f"{table}: 1 of {len(getattr(raw, table))} rows are bad"
    assert message.startswith(f"{bad}, `data_validation.max_bad_share` allows 0: ")
    assert f"{reason} (1 rows)" in message
    assert f"row {row}: " in message


@pytest.mark.parametrize(("table", "column", "value", "reason"), RULES)
def test_bad_row_below_the_threshold_is_dropped_and_counted(tolerant, raw, table, column, value, reason):
    tables, dropped, _ = clean(tolerant, broken(raw, table, 4, column, value))
    assert dropped[table] == {reason: 1}
    assert len(getattr(tables, table)) == len(getattr(raw, table)) - 1


def test_clean_tables_stay_as_they_are(small_scenario, raw, tables):
    result, dropped, _ = clean(small_scenario, raw)
    assert dropped == {"users": {}, "items": {}, "interactions": {}}
    pd.testing.assert_frame_equal(result.users, tables.users)
    pd.testing.assert_frame_equal(result.items, tables.items)
    pd.testing.assert_frame_equal(result.interactions.drop(columns="event_id"), raw.interactions)
    assert result.interactions["event_id"].tolist() == list(range(len(raw.interactions)))


def test_doubled_interaction_is_dropped_but_a_repeat_at_another_time_stays(tolerant, raw):
    again = raw.interactions.iloc[[3, 5]].copy()
    again.loc[again.index[1], "timestamp"] += pd.Timedelta(1, "s")
    _, dropped, _ = clean(tolerant, raw._replace(interactions=pd.concat([raw.interactions, again], ignore_index=True)))
    assert dropped["interactions"] == {"doubled row": 1}


def test_interactions_of_a_dropped_user_go_with_it(tolerant, raw):
    tables, dropped, _ = clean(tolerant, broken(raw, "users", 4, "age", 300))
    user = raw.users["user_id"][4]
    lost = int((raw.interactions["user_id"] == user).sum())
    assert lost > 0
    assert dropped["interactions"] == {"user_id: its row was dropped": lost}
    assert user not in set(tables.interactions["user_id"])


def test_a_broken_first_row_does_not_take_its_sound_double_along(tolerant, raw):
    users = pd.concat([raw.users.iloc[[4]].assign(age=300), raw.users], ignore_index=True)
    tables, dropped, _ = clean(tolerant, raw._replace(users=users))
    assert dropped["users"] == {"age: above 120": 1}
    assert len(tables.users) == len(raw.users)


def test_a_row_with_two_faults_is_counted_once(tolerant, raw):
    twice = broken(broken(raw, "users", 4, "age", 300), "users", 4, "occupation", None)
    _, dropped, _ = clean(tolerant, twice)
    assert sum(dropped["users"].values()) == 1


def test_missing_column_is_named_with_the_columns_there(small_scenario, raw):
    with pytest.raises(DataError, match=re.escape("items: no column 'genres'; the table has: item_id, title, year")):
        clean(small_scenario, raw._replace(items=raw.items.drop(columns="genres")))


def test_empty_table_is_refused(small_scenario, raw):
    with pytest.raises(DataError, match="users: the table has no rows"):
        clean(small_scenario, raw._replace(users=raw.users.iloc[:0]))


def test_all_rows_bad_is_refused_whatever_the_share(small_scenario, raw):
    loose = small_scenario.data_validation.model_copy(update={"max_bad_share": 0.99})
    with pytest.raises(DataError, match="users: 30 of 30 rows are bad"):
        clean(
            small_scenario.model_copy(update={"data_validation": loose}), raw._replace(users=raw.users.assign(age=-1))
        )


def test_a_bound_that_is_no_time_is_a_fault_of_the_scenario(small_scenario, raw):
    wrong = small_scenario.data_validation.model_copy(update={"latest": "soon"})
    with pytest.raises(ScenarioError, match=re.escape("data_validation.latest: invalid value 'soon'")):
        clean(small_scenario.model_copy(update={"data_validation": wrong}), raw)


def test_nullable_column_may_miss_values(small_scenario, raw):
    tables, *_ = clean(small_scenario, raw)
    assert tables.items["year"].isna().sum() == raw.items["year"].isna().sum() > 0


def test_keys_that_are_texts_are_told_of(small_scenario, raw):
    users = raw.users.assign(user_id=raw.users["user_id"].map("u-{}".format))
    with pytest.raises(DataError, match=r"Keys that are texts need `key_type: string` in entities.users"):
        clean(small_scenario, raw._replace(users=users))
    with pytest.raises(DataError) as one:
        clean(small_scenario, broken(raw, "users", 4, "user_id", "ten"))
    assert "key_type" not in str(one.value)


def marked(scenario, table: str, column: str, personal: bool):
    """The scenario with one column marked."""
    content = scenario.model_dump()
    content["entities"][table]["columns"][column]["personal"] = personal
    return type(scenario).model_validate(content)


def message(scenario, tables: Tables) -> str:
    with pytest.raises(DataError) as error:
        clean(scenario, tables)
    return str(error.value)


def test_no_error_shows_a_personal_value(small_scenario, raw):
    """Users are people: their key and all their columns, in every table."""
    secret = broken(raw, "users", 4, "age", "ninety-nine-and-a-half")
    text = message(small_scenario, secret)
    assert "ninety-nine" not in text
    assert "row 4: {'user_id': '(hidden)', 'age': '(hidden)', 'occupation': '(hidden)'}" in text
    assert text.endswith("(hidden): personal columns; polytask check --rejected FOLDER writes whole rows")
    text = message(small_scenario, broken(raw, "interactions", 4, "user_id", 987654321))
    assert "987654321" not in text and "'user_id': '(hidden)'" in text
    assert f"'item_id': {raw.interactions['item_id'][4]}" in text, "what is not personal is shown"


def test_items_are_shown_unless_a_column_is_marked(small_scenario, raw):
    wrong = broken(raw, "items", 4, "year", "the year of the comet")
    text = message(small_scenario, wrong)
    assert "the year of the comet" in text and "hidden" not in text
    assert "the year of the comet" not in message(marked(small_scenario, "items", "year", True), wrong)


def test_a_column_of_users_may_be_marked_as_not_personal(small_scenario, raw):
    wrong = broken(raw, "users", 4, "age", "very old")
    assert "'age': 'very old'" in message(marked(small_scenario, "users", "age", False), wrong)


def test_a_mark_changes_no_model(small_scenario):
    """A contract, and so a version, of before stays valid when a column is marked."""
    assert marked(small_scenario, "users", "age", False).model_dump() == small_scenario.model_dump()


def test_rejected_rows_are_whole(tolerant, raw):
    wrong = broken(broken(raw, "users", 4, "age", "very old"), "items", 2, "title", " ")
    rejected = clean(tolerant, wrong).rejected
    assert {name: len(rows) for name, rows in rejected.items() if name != "interactions"} == {"users": 1, "items": 1}
    (row,) = rejected["users"].to_dict("records")
    assert (row["row"], row["reason"], row["user_id"], row["age"]) == (4, "age: not an integer", 50, "very old")
