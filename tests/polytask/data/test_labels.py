"""The labels of each task, worked out by hand for a tiny data set."""

import numpy as np
import pandas as pd
import pytest

from polytask.data.catalogue import catalogues_of
from polytask.data.labels import event_labels
from polytask.errors import DataError
from polytask.scenario import Scenario
from tests.polytask.tiny import tiny_dataset, tiny_tables
from tests.small import training_frame


@pytest.fixture(scope="module")
def dataset(small_scenario):
    return tiny_dataset(small_scenario)


def labels_of(scenario, task, train=None):
    tables = tiny_tables()
    mapping = scenario.model_dump() | {"tasks": [task]}
    changed = Scenario.model_validate(mapping)
    events = training_frame(changed, tables)
    train = np.ones(len(events), dtype=bool) if train is None else train
    return event_labels(changed, events, train, catalogues_of(changed, tables))[task["name"]], events


def test_next_item_is_the_events_own_item(dataset):
    labels = dataset.labels["item"]
    assert labels.mask.all()
    chosen = np.array([0, 1, 8, 14])
    assert labels.of(chosen, dataset.item_rows).tolist() == [1, 2, 5, 2]
    assert dataset.previous_rows[chosen].tolist() == [0, 1, 2, 1]


def test_peers_are_users_who_liked_the_item_in_training(dataset):
    labels = dataset.labels["user"]
    peers = {row: np.flatnonzero(labels.by_item[row]).tolist() for row in range(6)}
    # Training events rated 4 or more: 1 liked items 1 and 2; 2 liked 2 and 3; 3 liked 2; 4 liked 1.
    assert peers == {0: [], 1: [1, 4], 2: [1, 2, 3], 3: [2], 4: [], 5: []}


def test_event_without_other_peers_or_below_the_rating_is_masked(dataset):
    mask = dataset.labels["user"].mask.tolist()
    assert mask[:5] == [True, True, False, False, True]  # item 3 was rated 2, item 4 has no peer
    assert mask[5:9] == [True, False, True, False]  # of item 3, user 2 is the only peer: not its own
    assert mask[9:13] == [False, True, True, True]
    assert mask[13:] == [True, False]


def test_classes_of_the_item(dataset):
    labels = dataset.labels["scene"]
    assert labels.by_item.astype(int).tolist() == [
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 0],
    ]
    assert np.flatnonzero(~labels.mask).tolist() == [8]  # item 5 has no genre


def test_interaction_columns(small_scenario):
    task = {"name": "score", "title": "S", "kind": "regression", "label": {"source": "interaction", "column": "rating"}}
    labels, events = labels_of(small_scenario, task)
    assert labels.mask.all()
    assert labels.of(np.array([2, 0]), np.zeros(15, dtype=np.int64)).tolist() == [2.0, 5.0]
    task["label"]["where"] = {"column": "rating", "at_least": 4}
    masked, _ = labels_of(small_scenario, task)
    assert (masked.mask == (events["rating"] >= 4)).all()
    assert 0 < masked.mask.sum() < len(events)


def test_threshold_makes_yes_or_no_of_a_number_and_masks_a_missing_one(small_scenario):
    label = {"source": "interaction", "column": "rating", "at_least": 4}
    task = {"name": "like", "title": "L", "kind": "binary", "label": label}
    changed = Scenario.model_validate(small_scenario.model_dump() | {"tasks": [task]})
    tables = tiny_tables()
    events = training_frame(changed, tables).assign(rating=[5, 4, 3.9, 1, None] * 3)
    train = np.ones(len(events), dtype=bool)
    labels = event_labels(changed, events, train, catalogues_of(changed, tables))["like"]
    assert labels.mask.tolist() == [True, True, True, True, False] * 3
    assert labels.values[labels.mask].tolist() == [1.0, 1.0, 0.0, 0.0] * 3


def test_multiclass_column_with_a_gap(small_scenario):
    scenario = small_scenario.model_dump()
    scenario["entities"]["interactions"]["columns"]["device"] = {"type": "string", "nullable": True}
    label = {"source": "interaction", "column": "device"}
    task = {"name": "where", "title": "W", "kind": "multiclass", "classes": ["phone", "tv"], "label": label}
    changed = Scenario.model_validate(scenario | {"tasks": [task]})
    tables = tiny_tables()
    events = training_frame(changed, tables).assign(device=["tv", None, "phone"] * 5)
    train = np.ones(len(events), dtype=bool)
    labels = event_labels(changed, events, train, catalogues_of(changed, tables))["where"]
    assert labels.mask.tolist() == [True, False, True] * 5
    assert labels.values[labels.mask].tolist() == [1.0, 0.0] * 5
    with pytest.raises(DataError, match="task 'where': radio in the data; allowed: phone, tv"):
        event_labels(changed, events.assign(device="radio"), train, catalogues_of(changed, tables))


KINDS = [
    ("multiclass", {"type": "string", "nullable": True}, ["tv", None, "phone"], [1.0, 0.0]),
    ("binary", {"type": "integer", "nullable": True}, [1, None, 0], [1.0, 0.0]),
    ("regression", {"type": "float", "nullable": True}, [2.5, None, -1.0], [2.5, -1.0]),
    ("multilabel", {"type": "string_list"}, [["tv", "phone"], [], ["phone"]], [[1.0, 1.0], [1.0, 0.0]]),
]


@pytest.mark.parametrize("source", ["interaction", "item"])
@pytest.mark.parametrize(("kind", "column", "values", "expected"), KINDS, ids=[k[0] for k in KINDS])
def test_every_kind_from_the_event_and_from_its_item(small_scenario, source, kind, column, values, expected):
    content = small_scenario.model_dump()
    content["entities"]["interactions" if source == "interaction" else "items"]["columns"]["extra"] = column
    classes = ["phone", "tv"] if kind.startswith("multi") else None
    task = {"name": "extra", "title": "E", "kind": kind, "classes": classes}
    scenario = Scenario.model_validate(content | {"tasks": [task | {"label": {"source": source, "column": "extra"}}]})
    tables = tiny_tables()
    events, items = training_frame(scenario, tables), tables.items
    if source == "interaction":
        events = events.assign(extra=pd.Series((values * len(events))[: len(events)], dtype=object))
    else:
        items = items.assign(extra=pd.Series((values * len(items))[: len(items)], dtype=object))
    catalogues = catalogues_of(scenario, tables._replace(items=items))
    item_rows = catalogues["items"].rows(events["item_id"])
    labels = event_labels(scenario, events, np.ones(len(events), dtype=bool), catalogues)["extra"]
    place = np.arange(len(events)) if source == "interaction" else item_rows - 1
    assert labels.mask.tolist() == (place % 3 != 1).tolist()
    chosen = np.flatnonzero(labels.mask)
    assert labels.of(chosen, item_rows).tolist() == [expected[n // 2] for n in place[chosen] % 3]


def test_condition_on_a_missing_number_does_not_hold(small_scenario):
    content = small_scenario.model_dump()
    content["entities"]["interactions"]["columns"]["seconds"] = {"type": "integer", "nullable": True}
    label = {"source": "interaction", "column": "rating", "where": {"column": "seconds", "at_least": 60}}
    task = {"name": "score", "title": "S", "kind": "regression", "label": label}
    scenario = Scenario.model_validate(content | {"tasks": [task]})
    tables = tiny_tables()
    events = training_frame(scenario, tables).assign(seconds=pd.array([90, None, 10] * 5, dtype="Int64"))
    labels = event_labels(scenario, events, np.ones(15, dtype=bool), catalogues_of(scenario, tables))["score"]
    assert labels.mask.tolist() == [True, False, False] * 5


def test_yes_or_no_that_is_neither(small_scenario):
    label = {"source": "interaction", "column": "rating"}
    task = {"name": "like", "title": "L", "kind": "binary", "label": label}
    with pytest.raises(DataError, match=r"task 'like': 2, 3, 4, 5 in the data; allowed: 0, 1"):
        labels_of(small_scenario, task)


@pytest.mark.parametrize(
    ("table", "column", "task"),
    [
        ("interactions", "rating", {"kind": "binary", "label": {"source": "interaction", "column": "rating"}}),
        (
            "items",
            "genres",
            {"kind": "multilabel", "classes": ["Comedy", "Horror"], "label": {"source": "item", "column": "genres"}},
        ),
    ],
)
def test_a_label_out_of_a_personal_column_is_not_shown(small_scenario, table, column, task):
    content = small_scenario.model_dump() | {"tasks": [{"name": "one", "title": "One", **task}]}
    content["entities"][table]["columns"][column]["personal"] = True
    scenario, tables = Scenario.model_validate(content), tiny_tables()
    events = training_frame(scenario, tables)
    with pytest.raises(DataError, match=r"task 'one': \(hidden\) in the data; allowed: "):
        event_labels(scenario, events, np.ones(len(events), dtype=bool), catalogues_of(scenario, tables))


def test_class_that_the_scenario_does_not_name(small_scenario):
    label = {"source": "item", "column": "genres"}
    task = {"name": "scene", "title": "S", "kind": "multilabel", "classes": ["Comedy", "Horror"], "label": label}
    with pytest.raises(DataError, match="task 'scene': Drama in the data; allowed: Comedy, Horror"):
        labels_of(small_scenario, task)
