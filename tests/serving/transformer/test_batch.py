"""Recommendations for all users: every user and task, equal to the transformer's, and in bounded pieces."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from polytask.contract.contract import load_contract
from polytask.contract.tensors import ATTENTION_MASK, INPUT_IDS
from polytask.data.tables import Tables
from polytask.errors import DataError
from polytask.export.in_process import BundleModels
from polytask.scenario import Scenario
from serving.transformer.batch import Recommended, recommend_to_all
from serving.transformer.bundle import load_bundle
from serving.transformer.features.reader import FeatureReader, online_tensors

MOMENT = datetime(2024, 6, 8, 20, tzinfo=UTC)


@pytest.fixture(scope="module")
def made(small_bundle: Path, small_store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recommended]:
    file = tmp_path_factory.mktemp("batch") / "all.parquet"
    return file, recommend_to_all(small_bundle, small_store, file, k=3, moment=MOMENT, users_at_once=8)


def test_every_user_has_the_best_of_every_task(made: tuple[Path, Recommended], tables: Tables) -> None:
    file, done = made
    table = pd.read_parquet(file)
    assert list(table.columns) == ["user", "task", "rank", "id", "score", "title"]
    assert (done.users, done.rows) == (30, 30 * 3 * 3)
    counts = table.groupby(["user", "task"], observed=True)["rank"].agg(list)
    assert set(map(tuple, counts)) == {(1, 2, 3)}
    assert set(table["user"]) == set(tables.users["user_id"])
    assert table.groupby(["user", "task"], observed=True)["score"].apply(lambda s: s.is_monotonic_decreasing).all()
    items = table[table["task"] == "item"]
    titles = tables.items.set_index(tables.items["item_id"].astype(str))["title"]
    assert items["title"].tolist() == titles.loc[items["id"]].tolist()
    scenes = table[table["task"] == "scene"]
    assert set(scenes["id"]) <= {"Comedy", "Drama", "Horror", "Western"}
    assert scenes["title"].isna().all()


def test_it_is_what_the_models_answer(
    made: tuple[Path, Recommended], small_bundle: Path, small_store: Path, small_scenario: Scenario
) -> None:
    table = pd.read_parquet(made[0])
    bundle = load_bundle(small_bundle)
    reader, user = FeatureReader(small_store, small_scenario), bundle.catalogues["users"].ids[13]
    _, tensors = online_tensors(reader, bundle.encoder, bundle.tokenizer, [user], [int(MOMENT.timestamp())])
    tokens = tensors.pop(INPUT_IDS), tensors.pop(ATTENTION_MASK)
    answers = BundleModels(small_bundle, bundle.contract).answer(*tokens, tensors, ["item_ids", "item_scores"])
    mine = table[(table["user"] == user) & (table["task"] == "item")]
    wanted = [str(bundle.catalogues["items"].external(int(row))) for row in answers["item_ids"][0, :3]]
    assert mine["id"].tolist() == wanted
    assert mine["score"].tolist() == pytest.approx(answers["item_scores"][0, :3].tolist(), abs=1e-4)


def test_the_file_says_which_model_answered_and_is_written_in_pieces(
    made: tuple[Path, Recommended], small_bundle: Path
) -> None:
    file, contract = pq.ParquetFile(made[0]), load_contract(small_bundle)
    metadata = file.schema_arrow.metadata
    assert metadata[b"polytask.model_version"] == str(contract.model_version).encode()
    assert metadata[b"polytask.contract_sha256"] == contract.checksum.encode()
    assert metadata[b"polytask.moment"] == b"2024-06-08T20:00:00+00:00"
    assert [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)] == [72, 72, 72, 54]


def test_some_tasks_and_no_others(small_bundle: Path, small_store: Path, tmp_path: Path) -> None:
    done = recommend_to_all(small_bundle, small_store, tmp_path / "a.parquet", tasks=["scene"], k=50, moment=MOMENT)
    assert done.rows == 30 * 4
    assert set(pd.read_parquet(tmp_path / "a.parquet")["task"]) == {"scene"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"tasks": ["film"]}, "'film' is not known; allowed: item, user, scene"), ({"k": 0}, "k 0, .*1 or more")],
)
def test_what_is_wrong_leaves_the_file_as_it_is(
    small_bundle: Path, small_store: Path, tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    (tmp_path / "a.parquet").write_text("old")
    with pytest.raises(DataError, match=words):
        recommend_to_all(small_bundle, small_store, tmp_path / "a.parquet", **settings)
    assert (tmp_path / "a.parquet").read_text() == "old"
