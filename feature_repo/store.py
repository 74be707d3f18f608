"""A feature store: a folder with `feature_store.yaml` and sources, and the registry and online store that it names."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dill
import yaml
from feast import FeatureStore, RepoConfig
from feast.transformation import udf_rehydrate

from feature_repo.batch_sources import with_defaults
from polytask.errors import DataError
from polytask.scenario.schema import Scenario
from polytask.storage.atomic import write_text
from polytask.text.stored_code import run_no_other_code

STORE_FILE = "feature_store.yaml"
# Never Feast's default offline store: it drops training rows without a word.
OFFLINE_STORE = {"type": "duckdb"}
# Left to itself, Feast reads every row of a source into one data frame, arrays and all, to find the newest of each
# entity, and turns those into messages all at once.
MATERIALIZATION = {"pull_latest_features": True, "online_write_batch_size": 10_000}
# Not named in feature_store.yaml: serving reads that file and does not have this package.
_FOR_LARGE_ARRAYS = {"duckdb": "feature_repo.offline_store.AsofDuckDBOfflineStore"}


def write_store(scenario: Scenario, folder: Path, settings: Path | None = None) -> FeatureStore:
    """Write `feature_store.yaml` into `folder` and open the store.

    `settings` is a feature_store.yaml to take registry and online store from, such as the one that serving reads on a
    cluster; without it both are files of `folder` (registry file, SQLite). The offline store is DuckDB, unless
    `settings` names one. Raises DataError where `settings` is of another project.
    """
    config = _local(scenario) if settings is None else _given(scenario, settings)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / STORE_FILE, yaml.safe_dump(config, sort_keys=False))
    return open_store(folder)


def _given(scenario: Scenario, settings: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(settings.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DataError(f"{settings}: cannot be read as YAML: {error}") from error
    project = config.get("project") if isinstance(config, dict) else None
    if project != scenario.name:
        raise DataError(f"{settings}: project {project!r}; allowed: the scenario's name, {scenario.name!r}")
    offline = config.get("offline_store", OFFLINE_STORE)
    if not isinstance(offline, dict) or not isinstance(offline.get("type"), str):
        raise DataError(f"{settings}: offline_store {offline!r}; allowed: settings with the store's `type`")
    return {"materialization": MATERIALIZATION, **config, "offline_store": with_defaults(offline)}


def _local(scenario: Scenario) -> dict[str, Any]:
    return {
        "project": scenario.name,
        "provider": "local",
        "registry": "registry.db",
        "offline_store": OFFLINE_STORE,
        "materialization": MATERIALIZATION,
        "online_store": {"type": "sqlite", "path": "online.db"},
        "entity_key_serialization_version": 3,
        "telemetry": False,
    }


def open_store(folder: Path) -> FeatureStore:
    """Open the store in `folder`. Raises DataError when there is none."""
    return _open(_checked(folder))


def open_batch_store(folder: Path, *, overwrite: bool = False) -> FeatureStore:
    """The same store with the join and the reading that support large arrays, where its offline store has them.

    With `overwrite` a row replaces a stored one of the same time: Feast's Redis store keeps the stored one otherwise,
    without an error.
    """
    path = _checked(folder) / STORE_FILE
    # As Feast reads it: secrets may be named as ${VARIABLE}. Its own reading would import what is replaced here.
    settings = yaml.safe_load(os.path.expandvars(path.read_text(encoding="utf-8")))
    offline = settings.get("offline_store")
    if isinstance(offline, dict) and offline.get("type") in _FOR_LARGE_ARRAYS:
        settings["offline_store"] = {**offline, "type": _FOR_LARGE_ARRAYS[offline["type"]]}
    online = settings.get("online_store")
    if overwrite and isinstance(online, dict) and online.get("type") == "redis":
        settings["online_store"] = {**online, "skip_dedup": True}
    return _open(folder, RepoConfig(**settings, repo_path=folder))


def _open(folder: Path, config: RepoConfig | None = None) -> FeatureStore:
    """No code of the registry is run but our own, however Feast reads it."""
    run_no_other_code(udf_rehydrate, dill)
    return FeatureStore(repo_path=str(folder), config=config)


@contextmanager
def known_warnings_ignored() -> Iterator[None]:
    """Silence the warnings of Feast and ibis on every call, which this project cannot fix."""
    with warnings.catch_warnings():
        # On-demand views are slow offline: training_set.py bounds that.
        warnings.filterwarnings("ignore", message="On demand feature view", category=RuntimeWarning)
        warnings.filterwarnings("ignore", message="The spark .* is an experimental feature", category=RuntimeWarning)
        warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
        yield


def _checked(folder: Path) -> Path:
    if not (folder / STORE_FILE).is_file():
        raise DataError(f"{folder} is not a feature store: it has no {STORE_FILE}")
    return folder
