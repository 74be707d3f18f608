"""A feature store on one machine: a folder with `feature_store.yaml`, registry, online store and sources."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from feast import FeatureStore
from feast.repo_config import load_repo_config

from polytask.atomic import write_text
from polytask.errors import DataError
from polytask.scenario.schema import Scenario

STORE_FILE = "feature_store.yaml"
# Not named in feature_store.yaml: serving reads that file and does not have this package.
_POINT_IN_TIME = {"duckdb": "feature_repo.offline_store.AsofDuckDBOfflineStore"}


def local_store(scenario: Scenario, folder: Path) -> FeatureStore:
    """Write `feature_store.yaml` for a local store (DuckDB offline, SQLite online, registry file) and open it."""
    config = {
        "project": scenario.name,
        "provider": "local",
        "registry": "registry.db",
        # Never Feast's default offline store: it drops training rows without a word.
        "offline_store": {"type": "duckdb"},
        "online_store": {"type": "sqlite", "path": "online.db"},
        "entity_key_serialization_version": 3,
        "telemetry": False,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / STORE_FILE, yaml.safe_dump(config, sort_keys=False))
    return open_store(folder)


def open_store(folder: Path) -> FeatureStore:
    """Open the store in `folder`. Raises DataError when there is none."""
    return FeatureStore(repo_path=str(_checked(folder)))


def open_training_store(folder: Path) -> FeatureStore:
    """The same store with the point-in-time join that stands large arrays, where its offline store has one."""
    config = load_repo_config(_checked(folder), folder / STORE_FILE)
    offline = config.offline_config
    if isinstance(offline, dict) and offline.get("type") in _POINT_IN_TIME:
        config.offline_config = {**offline, "type": _POINT_IN_TIME[offline["type"]]}
    return FeatureStore(repo_path=str(folder), config=config)


@contextmanager
def known_warnings_ignored() -> Iterator[None]:
    """Silence what Feast and ibis say on every call and nobody here can mend."""
    with warnings.catch_warnings():
        # On-demand views are slow offline: training_set.py bounds that.
        warnings.filterwarnings("ignore", message="On demand feature view", category=RuntimeWarning)
        warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
        yield


def _checked(folder: Path) -> Path:
    if not (folder / STORE_FILE).is_file():
        raise DataError(f"{folder} is not a feature store: it has no {STORE_FILE}")
    return folder
