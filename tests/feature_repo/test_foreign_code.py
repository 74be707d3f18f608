"""A registry with code that is not ours: nothing of it is run, whatever reads the registry."""

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dill
import pytest
from feast.protos.feast.core.DataSource_pb2 import DataSource
from feast.protos.feast.core.Registry_pb2 import Registry

from feature_repo.apply import apply_definitions, build_store
from feature_repo.push import push_event
from feature_repo.store import open_store
from feature_repo.training_set import build_training_set
from polytask.errors import PolytaskError
from polytask.text.stored_code import is_ours, time_context_source
from serving.transformer.features.reader import FeatureReader

TRACE = "POLYTASK_TEST_TRACE"
SOURCE = f"""import os
open(os.environ["{TRACE}"], "w").close()

def time_context(inputs):
    return {{"daypart": ["night"], "weekpart": ["weekend"]}}
"""
VIEWS = "user_profile"
MOMENT = datetime(2024, 5, 1, tzinfo=UTC)


class Leaves:
    """Its pickle leaves a file when it is read."""

    def __reduce__(self) -> Any:
        return open, (os.environ[TRACE], "w")


def _context(registry: Registry) -> Any:
    return registry.on_demand_feature_views[0].spec.feature_transformation.user_defined_function


def source(registry: Registry) -> None:
    _context(registry).body_text = SOURCE


def own_source_with_more(registry: Registry) -> None:
    _context(registry).body_text = time_context_source("request_time", "UTC") + SOURCE


def pickled(registry: Registry) -> None:
    _context(registry).body_text = ""
    _context(registry).body = dill.dumps(Leaves())


def pandas_mode(registry: Registry) -> None:
    registry.on_demand_feature_views[0].spec.mode = "pandas"
    _context(registry).mode = "pandas"
    _context(registry).body_text = SOURCE


def feature_view(registry: Registry) -> None:
    view = next(one for one in registry.feature_views if one.spec.name == VIEWS)
    function = view.spec.feature_transformation.user_defined_function
    function.name, function.body_text, function.body = "f", SOURCE, dill.dumps(Leaves())


def another_view(registry: Registry) -> None:
    added = registry.on_demand_feature_views.add()
    added.CopyFrom(registry.on_demand_feature_views[0])
    added.spec.name = "another"
    added.spec.feature_transformation.user_defined_function.body_text = SOURCE


def stream_view(registry: Registry) -> None:
    view = registry.stream_feature_views.add()
    plain = next(one for one in registry.feature_views if one.spec.name == VIEWS)
    view.spec.name, view.spec.project = "stream", plain.spec.project
    view.spec.batch_source.CopyFrom(plain.spec.batch_source)
    view.spec.stream_source.CopyFrom(DataSource(type=DataSource.PUSH_SOURCE, name="stream_push"))
    view.spec.stream_source.batch_source.CopyFrom(plain.spec.batch_source)
    view.spec.mode = "spark"
    view.spec.user_defined_function.name = "f"
    view.spec.user_defined_function.body = dill.dumps(Leaves())


FOREIGN = (source, own_source_with_more, pickled, pandas_mode, feature_view, another_view, stream_view)


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that the code leaves where it is run."""
    path = tmp_path / "trace"
    monkeypatch.setenv(TRACE, str(path))
    yield path


@pytest.fixture
def planted(small_store: Path, tmp_path: Path) -> Callable[[Callable[[Registry], None]], Path]:
    def plant(change: Callable[[Registry], None]) -> Path:
        folder = tmp_path / "planted"
        shutil.copytree(small_store, folder)
        path = folder / "registry.db"
        registry = Registry.FromString(path.read_bytes())
        change(registry)
        path.write_bytes(registry.SerializeToString())
        return folder

    return plant


@pytest.mark.parametrize("change", FOREIGN)
def test_foreign_code_of_a_registry_is_not_run(change, planted, trace, small_scenario, tables, ingested, tmp_path):
    store = planted(change)
    refusals = {}
    for name, read in {
        "training set": lambda: build_training_set(
            store, small_scenario, tables.interactions, tmp_path / "rows.parquet"
        ),
        "push": lambda: push_event(open_store(store), small_scenario, 10, 100, MOMENT),
        "transformer": lambda: FeatureReader(store, small_scenario).read([10], [int(MOMENT.timestamp())]),
        "views": lambda: open_store(store).list_all_feature_views(),
        "apply": lambda: apply_definitions(open_store(store), small_scenario, store),
        "build_features": lambda: build_store(small_scenario, ingested, store),
    }.items():
        try:
            read()
        except PolytaskError as error:
            refusals[name] = str(error)
        assert not trace.exists(), name
    assert "feature registry: holds" in refusals["views"]
    assert "allowed: the on-demand view time_context" in refusals["views"]
    if change in (source, own_source_with_more, pickled, pandas_mode):
        assert "feature registry: holds" in refusals["training set"]


def test_the_source_of_each_time_zone_is_ours():
    for zone in ("UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+12"):
        assert is_ours(time_context_source("request_time", zone))
    for text in ("", SOURCE, time_context_source("request_time", "UTC") + "\n", time_context_source("x", "U'+f()+'")):
        assert not is_ours(text)
