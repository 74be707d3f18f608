"""A feature store without items: the profile and the time context, and nothing of a history."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from feature_repo.apply import build_store
from feature_repo.definitions import definitions
from feature_repo.push import push_event
from feature_repo.store import open_store
from feature_repo.training_set import build_training_set
from polytask.data.tables import read_tables, write_tables
from polytask.errors import DataError
from polytask.ingest import ingest
from tests.text_only import text_only_training_frame


@pytest.fixture(scope="module")
def notes_store(text_only_scenario, notes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("notes_store")
    write_tables(notes, folder / "ingest")
    return build_store(text_only_scenario, folder / "ingest", folder / "store")


def test_only_what_there_is(text_only_scenario, tmp_path):
    assert [o.name for o in definitions(text_only_scenario, tmp_path)] == [
        "user",
        "user_profile",
        "time_context",
        "notes_v1",
    ]


def test_ingest_reads_two_tables(text_only_scenario, notes, tmp_path):
    report = ingest(text_only_scenario, tmp_path / "out")
    assert set(report.tables) == {"users", "interactions"}
    written = read_tables(tmp_path / "out")
    assert written.items is None
    pd.testing.assert_frame_equal(written.users, notes.users)
    pd.testing.assert_frame_equal(written.interactions, notes.interactions)


def test_training_set(notes_store, text_only_scenario, notes, tmp_path):
    path = build_training_set(notes_store, text_only_scenario, notes.interactions, tmp_path / "training.parquet")
    expected = text_only_training_frame(text_only_scenario, notes)
    pd.testing.assert_frame_equal(pd.read_parquet(path), expected, check_dtype=False)


def test_a_fresh_event_has_nowhere_to_go(notes_store, text_only_scenario):
    with pytest.raises(DataError, match=r"scenario 'notes' has no `entities.items`"):
        push_event(open_store(notes_store), text_only_scenario, 1, 1, datetime.now(UTC))
