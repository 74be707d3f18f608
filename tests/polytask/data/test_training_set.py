"""The training set read with arrays that share memory, compared with the same file read by pandas."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from polytask.data.training_set import read_training_set
from polytask.scenario.schema import Scenario
from tests.small import training_frame


def frame_of(scenario: Scenario, tables) -> pd.DataFrame:
    """The training set as Feast gives it: lists of keys, the empty ones too."""
    frame = training_frame(scenario, tables)
    return frame.assign(**{name: [array.astype(np.int64) for array in frame[name]] for name in ("history", "seen")})


def written(frame: pd.DataFrame, path, rows_per_group=50):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table, path, row_group_size=rows_per_group)
    return path


def assert_same(found: pd.DataFrame, path) -> None:
    expected = pd.read_parquet(path)
    lists = [name for name in ("history", "seen") if name in expected]
    pd.testing.assert_frame_equal(found.drop(columns=lists), expected.drop(columns=lists))
    assert found.columns.tolist() == expected.columns.tolist()
    for name in lists:
        for ours, theirs in zip(found[name], expected[name], strict=True):
            assert ours.dtype == theirs.dtype
            assert ours.tolist() == theirs.tolist()


def test_arrays_are_windows_of_one(small_scenario, tables, tmp_path):
    path = written(frame_of(small_scenario, tables), tmp_path / "rows.parquet")
    found = read_training_set(small_scenario, path)
    assert_same(found, path)
    bases = {id(array.base) for name in ("history", "seen") for array in found[name] if len(array)}
    assert bases == {id(found["seen"].iloc[-1].base)} != {id(None)}
    with pytest.raises(ValueError, match="read-only"):
        found["seen"].iloc[-1][0] = 1


def test_what_the_rows_before_do_not_say_is_kept(small_scenario, tables, tmp_path):
    frame = frame_of(small_scenario, tables)
    seen = frame["seen"].tolist()
    full = [row for row, array in enumerate(seen) if len(array) > 5]
    # Expired; another item; more than the user's own rows go back; a gap.
    seen[full[0]] = np.array([], dtype=np.int64)
    seen[full[1]] = np.where(np.arange(len(seen[full[1]])) == 2, 7777, seen[full[1]])
    seen[full[2]] = np.r_[np.arange(900), seen[full[2]]]
    seen[full[3]] = seen[full[3]][:-1]
    path = written(frame.assign(seen=seen), tmp_path / "rows.parquet")
    found = read_training_set(small_scenario, path)
    assert_same(found, path)
    # The first user's rows must not lend their items to the next user's.
    first = found["user_id"].ne(found["user_id"].shift()).to_numpy()
    assert first.sum() > 1 and all(len(array) == 0 for array in found["history"][first])


def test_keys_may_be_texts(small_scenario, tables, tmp_path):
    frame = training_frame(small_scenario, tables)
    as_text = frame.assign(
        item_id=frame["item_id"].astype(str),
        **{
            name: [np.array([str(key) for key in array], dtype=object) for array in frame[name]]
            for name in ("history", "seen")
        },
    )
    content = small_scenario.model_dump()
    content["entities"]["items"]["key_type"] = "string"
    path = written(as_text, tmp_path / "rows.parquet")
    found = read_training_set(Scenario.model_validate(content), path)
    assert_same(found, path)
    assert found["seen"].iloc[-1].base is not None


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(small_scenario, tables, tmp_path, rows):
    frame = frame_of(small_scenario, tables)
    schema = pa.Table.from_pandas(frame, preserve_index=False).schema
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pandas(frame.iloc[:rows], schema=schema, preserve_index=False), path)
    assert_same(read_training_set(small_scenario, path), path)
