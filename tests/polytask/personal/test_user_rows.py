"""A user's rows in files: found and taken out, everything else as it was."""

import pandas as pd
import pyarrow.parquet as pq
import pytest

from polytask.personal.user_rows import (
    count_csv_rows,
    count_rows,
    drop_from_json,
    field_names_user,
    remove_csv_rows,
    remove_rows,
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


def test_csv(tmp_path):
    path = tmp_path / "users.csv"
    path.write_text('user_id,text\n7,"a, b"\n70,c\n 7.0 ,d\n,e\n', encoding="utf-8")
    assert count_csv_rows(path, "user_id", 7) == 2
    remove_csv_rows(path, "user_id", 7)
    assert path.read_text(encoding="utf-8") == "user_id,text\n70,c\n,e\n"


def test_json(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text('{"answers": [{"user": 42, "ok": true}], "seconds": {"total": 7.5}}', encoding="utf-8")
    assert field_names_user(path, "answers", 42)
    assert not field_names_user(path, "seconds", 42)
    assert not field_names_user(path, "answers", 1), "true is no key"
    drop_from_json(path, "answers")
    assert not field_names_user(path, "answers", 42)
    assert '"total": 7.5' in path.read_text(encoding="utf-8")
