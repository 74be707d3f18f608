"""A user's rows in files: found and taken out, everything else as it was."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

from polytask.errors import DataError
from polytask.ingest.conversion import convert
from polytask.ingest.user_tables import read_table
from polytask.personal.user_rows import (
    count_rows,
    count_source_rows,
    drop_from_json,
    field_names_user,
    remove_rows,
    remove_source_rows,
)


@pytest.mark.parametrize(
    ("keys", "user", "count"),
    [
        ([7, 8, 7, 9], 7, 2),
        (["7", "07x", "8", "7"], "7", 2),
        (["7", "8"], 7, 1),  # numbers as text
        ([7, 8], 70, 0),
        (pd.array([7, None, 8], dtype="Int64"), 7, 1),
    ],
)
def test_parquet(tmp_path, keys, user, count):
    path = tmp_path / "rows.parquet"
    table = pd.DataFrame({"user_id": keys, "word": [f"w{n}" for n in range(len(keys))]})
    table.to_parquet(path, row_group_size=2, index=False)
    schema = pq.read_schema(path)
    assert count_rows(path, "user_id", user) == count
    assert count_rows(path, "other", user) == 0
    remove_rows(path, "user_id", user)
    assert count_rows(path, "user_id", user) == 0
    assert pq.read_schema(path).equals(schema, check_metadata=True)
    left = table[[str(key) != str(user) for key in table["user_id"]]]
    pd.testing.assert_frame_equal(pd.read_parquet(path), left.reset_index(drop=True))


NEAR = 123_456_789_012_345_679  # a float has no room for its last digits


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("cells", "user"),
    [
        (["7", "70", " 7.0 ", None, "07", "x", "7.5"], 7),
        ([str(NEAR), str(NEAR - 1), str(int(float(NEAR)))], NEAR),
        ([str(NEAR), str(int(float(NEAR)))], int(float(NEAR))),
        (["10", "1_0", "nan", "inf"], 10),
        ([" bob ", "bob", "bobby", "NA", None], "bob"),
        (["NA", "x"], "NA"),
    ],
)
def test_rows_of_a_source_are_the_users_where_ingest_says_so(tmp_path, kind, cells, user):
    path = tmp_path / f"users.{kind}"
    table = pd.DataFrame({"user_id": cells, "text": ['a, "b"', *["c"] * (len(cells) - 1)]})
    table.to_parquet(path, row_group_size=2) if kind == "parquet" else table.to_csv(path, index=False)
    keys, _ = convert(read_table(path, "users", {})["user_id"], "integer" if isinstance(user, int) else "string")
    own = (keys == user).fillna(False).to_numpy(dtype=bool)
    assert 0 < own.sum() < len(cells)
    assert count_source_rows(path, "user_id", user) == own.sum()
    assert count_source_rows(path, "other", user) == 0
    remove_source_rows(path, "user_id", user)
    assert count_source_rows(path, "user_id", user) == 0
    left = read_table(path, "users", {})
    expected = table.astype("string")[~own].reset_index(drop=True)
    pd.testing.assert_frame_equal(left.astype("string"), expected)


def test_integer_columns_of_a_source_count_too(tmp_path):
    path = tmp_path / "users.parquet"
    pd.DataFrame({"user_id": pd.array([NEAR, None, NEAR - 1], dtype="Int64")}).to_parquet(path)
    assert count_source_rows(path, "user_id", NEAR) == 1


def test_csv_with_a_byte_order_mark_and_long_cells(tmp_path):
    path = tmp_path / "users.csv"
    long = "a" * 200_000
    path.write_text(f"\ufeffuser_id,text,text\n7,{long},b\n70,c,{long}\n", encoding="utf-8")
    assert count_source_rows(path, "user_id", 7) == 1
    remove_source_rows(path, "user_id", 7)
    assert path.read_text(encoding="utf-8").lstrip("\ufeff") == f"user_id,text,text\n70,c,{long}\n"


def test_a_source_that_cannot_be_read_stays_as_it_is(tmp_path):
    path = tmp_path / "users.csv"
    for content in ("", "user_id,text\n7,a,b\n70,c,d\n"):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(DataError, match=r"users\.csv"):
            remove_source_rows(path, "user_id", 7)
        assert path.read_text(encoding="utf-8") == content


@pytest.mark.parametrize("keys", [pd.array([7, 8], dtype="uint8"), [[7], [8]]])
@pytest.mark.parametrize("user", [-7, 300, "al"])
def test_a_column_that_cannot_hold_the_key_has_no_row_of_it(tmp_path, keys, user):
    path = tmp_path / "rows.parquet"
    pd.DataFrame({"user_id": keys}).to_parquet(path)
    assert count_rows(path, "user_id", user) == 0


def test_json(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text('{"answers": [{"user": 42, "ok": true}], "seconds": {"total": 7.5}}', encoding="utf-8")
    assert field_names_user(path, "answers", 42)
    assert not field_names_user(path, "seconds", 42)
    assert not field_names_user(path, "answers", 1), "true is no key"
    drop_from_json(path, "answers")
    assert not field_names_user(path, "answers", 42)
    assert '"total": 7.5' in path.read_text(encoding="utf-8")
