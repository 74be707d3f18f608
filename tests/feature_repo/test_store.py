"""A store whose registry and online store are elsewhere, as on a cluster."""

from pathlib import Path

import pytest
import yaml
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore

from feature_repo.apply import build_store
from feature_repo.store import open_store, write_store
from polytask.data.tables import Tables, write_tables
from polytask.errors import DataError
from polytask.scenario import Scenario


def write_settings(path: Path, **change: object) -> Path:
    settings = {
        "project": "small",
        "provider": "local",
        "registry": str(path.parent / "elsewhere" / "registry.db"),
        "online_store": {"type": "sqlite", "path": str(path.parent / "elsewhere" / "online.db")},
        "entity_key_serialization_version": 3,
        **change,
    }
    (path.parent / "elsewhere").mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def test_the_stores_that_serving_reads_are_filled(
    small_scenario: Scenario, tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """And from the newest rows: all rows with their arrays would not fit into memory."""
    monkeypatch.delattr(DuckDBOfflineStore, "pull_all_from_table_or_query")
    write_tables(tables, tmp_path / "ingest")
    settings = write_settings(tmp_path / "feature_store.yaml")
    folder = build_store(small_scenario, tmp_path / "ingest", tmp_path / "store", settings)
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {"registry.db", "online.db"}
    assert not (folder / "online.db").exists()
    store = open_store(folder)
    assert store.config.offline_config["type"] == "duckdb"
    service = store.get_feature_service(small_scenario.feature_service)
    row = store.get_online_features(service, [{"user_id": 10, "request_time": 1709283600}]).to_dict()
    assert row["age"] == [int(tables.users.set_index("user_id")["age"][10])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("project: movielens", "project 'movielens'; allowed: the scenario's name, 'small'"),
        ("5", "project None"),
        ("[", "cannot be read as YAML"),
    ],
)
def test_settings_of_another_project_are_refused(text: str, message: str, small_scenario: Scenario, tmp_path: Path):
    (tmp_path / "feature_store.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        write_store(small_scenario, tmp_path / "store", tmp_path / "feature_store.yaml")
    assert not (tmp_path / "store").exists()
