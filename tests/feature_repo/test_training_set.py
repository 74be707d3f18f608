"""The point-in-time training set: its rows, its values, and what it refuses."""

import shutil

import pandas as pd
import pytest
import yaml

from feature_repo import training_set
from feature_repo.point_in_time import PointInTimeJoin, check_same_rows
from feature_repo.sources import USER_HISTORY, source_file
from feature_repo.training_set import build_training_set
from polytask.errors import DataError
from polytask.text.time_context import time_context
from tests.feature_repo.other_store import OtherOfflineStore, OtherOfflineStoreConfig


@pytest.fixture(scope="module")
def built(small_store, small_scenario, tables, tmp_path_factory):
    target = tmp_path_factory.mktemp("training") / "training.parquet"
    return pd.read_parquet(build_training_set(small_store, small_scenario, tables.interactions, target))


def test_rows_order_and_columns(built, tables):
    own = ["event_id", "user_id", "item_id", "timestamp", "rating"]
    by_user = tables.interactions.sort_values(["user_id", "timestamp", "event_id"], ignore_index=True)
    pd.testing.assert_frame_equal(built[own], by_user[own])
    assert built.columns.tolist() == [*own, "age", "occupation", "history", "seen", "daypart", "weekpart"]


def test_every_value_against_a_plain_loop(built, tables):
    users = tables.users.set_index("user_id")
    done: dict[int, list[int]] = {}
    for row in built.itertuples(index=False):
        before = done.setdefault(row.user_id, [])
        assert list(row.history) == before[-10:]
        assert list(row.seen) == before[-48:]
        assert (row.age, row.occupation) == tuple(users.loc[row.user_id, ["age", "occupation"]])
        assert {"daypart": row.daypart, "weekpart": row.weekpart} == time_context(row.timestamp, "UTC")
        before.append(row.item_id)


def test_chunks_make_no_difference(built, small_store, small_scenario, tables, tmp_path, monkeypatch):
    monkeypatch.setattr(training_set, "ROWS_PER_JOIN", 333)
    chunked = build_training_set(small_store, small_scenario, tables.interactions, tmp_path / "chunked.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(chunked), built)


def test_a_python_view_gets_its_inputs_alone(small_store, small_scenario, tables, monkeypatch):
    """Arrays of all histories as Python objects took longer than the join."""
    from feast.transformation.python_transformation import PythonTransformation

    seen = []
    real = PythonTransformation.transform_arrow

    def noted(self, table, features):
        seen.append(table.column_names)
        return real(self, table, features)

    monkeypatch.setattr(PythonTransformation, "transform_arrow", noted)
    joined = PointInTimeJoin(small_store, small_scenario)(tables.interactions.iloc[:5])
    assert seen == [["request_time"]]
    assert {"history", "seen", "daypart"} <= set(joined.column_names)


def replanted(small_scenario, ingested, folder, change):
    """A store whose history source was changed after it was written."""
    from feature_repo.apply import build_store

    store = build_store(small_scenario, ingested, folder)
    path = source_file(store, USER_HISTORY)
    change(pd.read_parquet(path)).to_parquet(path, index=False, coerce_timestamps="us")
    return store


def stamped_at_the_event(history):
    return history.assign(event_timestamp=history["event_timestamp"] - pd.Timedelta(1, "us"))


def stamped_a_day_early(history):
    return history.assign(event_timestamp=history["event_timestamp"] - pd.Timedelta(1, "D"))


def without_one_row(history):
    return history.drop(index=100)


@pytest.mark.parametrize("change", [stamped_at_the_event, stamped_a_day_early, without_one_row])
def test_a_planted_leak_or_gap_is_caught(small_scenario, ingested, tables, tmp_path, change):
    store = replanted(small_scenario, ingested, tmp_path / "store", change)
    with pytest.raises(DataError, match=r"history: \d+ of \d+ rows do not hold the events strictly before their own"):
        build_training_set(store, small_scenario, tables.interactions, tmp_path / "training.parquet")
    assert not (tmp_path / "training.parquet").exists()


@pytest.fixture
def other_store(small_store, tmp_path):
    """The small store with an offline store that `feature_store.yaml` names by its class."""
    folder = tmp_path / "other"
    shutil.copytree(small_store, folder)
    settings = yaml.safe_load((folder / "feature_store.yaml").read_text())
    settings["offline_store"] = {"type": OtherOfflineStoreConfig().type}
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    return folder


FAULTS = {
    "lost": lambda rows: rows.iloc[1:],
    "doubled": lambda rows: pd.concat([rows, rows.iloc[[5]]]),
    "replaced": lambda rows: pd.concat([rows.iloc[1:], rows.iloc[[5]]]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_dropped_row_is_caught(other_store, small_scenario, tables, tmp_path, monkeypatch, fault):
    """The offline store returns one row less, one twice, or one in the place of another."""
    monkeypatch.setattr(OtherOfflineStore, "change", staticmethod(FAULTS[fault]))
    sent = len(tables.interactions)
    returned = sent + {"lost": -1, "doubled": 1, "replaced": 0}[fault]
    with pytest.raises(
        DataError,
        match=rf"OtherOfflineStore returned {returned} rows \(\d+ different events\) for {sent}; \d events are lost",
    ):
        build_training_set(other_store, small_scenario, tables.interactions, tmp_path / "training.parquet")
    assert not (tmp_path / "training.parquet").exists()


def test_a_store_may_answer_in_another_order(other_store, built, small_scenario, tables, tmp_path, monkeypatch):
    monkeypatch.setattr(OtherOfflineStore, "change", staticmethod(lambda rows: rows.sample(frac=1, random_state=3)))
    target = build_training_set(other_store, small_scenario, tables.interactions, tmp_path / "training.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(target), built)


def test_same_rows_in_another_order_pass():
    check_same_rows(pd.Series([3, 1, 2], index=[7, 8, 9]), pd.Series([1, 2, 3]), "Store")


def test_a_profile_stamped_too_long_before_is_caught(small_scenario, ingested, tables, tmp_path):
    from feature_repo.apply import build_store

    short = small_scenario.model_copy(
        update={"features": small_scenario.features.model_copy(update={"profile_ttl_days": 20})}
    )
    store = build_store(short, ingested, tmp_path / "store")
    with pytest.raises(DataError, match=r"age: \d+ of \d+ rows have no value; .*profile_ttl_days \(20\)"):
        build_training_set(store, short, tables.interactions, tmp_path / "training.parquet")


def test_a_folder_without_a_store_is_named(small_scenario, tables, tmp_path):
    with pytest.raises(DataError, match=r"is not a feature store: it has no feature_store\.yaml"):
        build_training_set(tmp_path, small_scenario, tables.interactions, tmp_path / "training.parquet")
