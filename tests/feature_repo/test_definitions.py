"""Feast objects derived from a scenario: names, types, and string keys."""

import pandas as pd
import yaml

from feature_repo.apply import build_store
from feature_repo.definitions import definitions
from feature_repo.push import online_history, push_event
from feature_repo.store import open_store
from feature_repo.training_set import build_training_set
from polytask.data.tables import Tables, write_tables
from polytask.scenario import load_scenario


def test_names_that_other_parts_rely_on(small_scenario, tmp_path):
    objects = definitions(small_scenario, tmp_path)
    assert [(type(o).__name__, o.name) for o in objects] == [
        ("Entity", "user"),
        ("Entity", "item"),
        ("PushSource", "user_history_push"),
        ("FeatureView", "user_profile"),
        ("FeatureView", "user_history"),
        ("FeatureView", "item_catalogue"),
        ("OnDemandFeatureView", "time_context"),
        ("FeatureService", "small_v1"),
    ]
    service = objects[-1]
    features = {view.name: [feature.name for feature in view.features] for view in service.feature_view_projections}
    assert features == {
        "user_profile": ["age", "occupation"],
        "user_history": ["history", "seen"],
        "time_context": ["daypart", "weekpart"],
    }


def test_types_follow_the_scenario(tmp_path):
    catalogue = next(o for o in definitions(load_scenario("movielens"), tmp_path) if o.name == "item_catalogue")
    types = {field.name: str(field.dtype) for field in catalogue.schema if field.name != "item_id"}
    assert types == {"title": "String", "year": "Int64", "genres": "Array(String)"}


def test_the_store_is_local_and_silent(small_store):
    config = yaml.safe_load((small_store / "feature_store.yaml").read_text())
    assert config["project"] == "small"
    assert config["offline_store"] == {"type": "duckdb"}
    assert config["online_store"]["type"] == "sqlite"
    assert config["telemetry"] is False


def test_keys_may_be_strings(small_scenario, tables, tmp_path):
    entities = small_scenario.entities
    string = {"key_type": "string"}
    entities = entities.model_copy(
        update={"users": entities.users.model_copy(update=string), "items": entities.items.model_copy(update=string)}
    )
    scenario = small_scenario.model_copy(update={"entities": entities})
    name = {"user_id": lambda t: "u" + t["user_id"].astype(str), "item_id": lambda t: "i" + t["item_id"].astype(str)}
    events = tables.interactions.assign(**name)
    named = Tables(tables.users.assign(user_id=name["user_id"]), tables.items.assign(item_id=name["item_id"]), events)
    write_tables(named, tmp_path / "ingested")
    store = build_store(scenario, tmp_path / "ingested", tmp_path / "store")
    built = pd.read_parquet(build_training_set(store, scenario, events, tmp_path / "training.parquet"))
    last = built[built["user_id"] == "u10"].iloc[-1]
    assert list(last["history"]) == events[events["user_id"] == "u10"]["item_id"].tolist()[-11:-1]
    opened = open_store(store)
    push_event(opened, scenario, "u10", "i7", pd.Timestamp("2026-06-06T20:30:00Z").to_pydatetime())
    assert online_history(opened, scenario, "u10")[0]["history"][-1] == "i7"
