"""Every kind of mistake in a scenario file: the message names the field, its value and what is allowed."""

from typing import Any

import pytest
import yaml

from polytask.errors import ScenarioError
from polytask.scenario import load_scenario
from polytask.scenario.load import SCENARIOS

GONE = "(left out)"
MOVIE_SOURCE = {"kind": "movielens", "path": "here"}
TASK = {"name": "item", "title": "Again", "kind": "binary", "label": {"source": "interaction", "column": "rating"}}

MISTAKES = [
    ("title", GONE, ["title: missing", "required"]),
    ("name", "Small Data", ["name: invalid value 'Small Data'", "^[a-z][a-z0-9_]*$", "small letters"]),
    ("training.epoch", 3, ["training.epoch: unknown field with the value 3", "did you mean `epochs`?"]),
    ("training.epochs", 0, ["training.epochs: invalid value 0", "greater than or equal to 1"]),
    ("training.epochs", "many", ["training.epochs: invalid value 'many'", "valid integer"]),
    ("tasks.0.kind", "retrival", ["tasks.0.kind: invalid value 'retrival'", "'retrieval'", "'regression'"]),
    ("tasks.0.catalogue", "users", ["tasks.0", "`catalogue`: invalid value 'users'; expected items"]),
    ("tasks.0.label.source", "peers", ["tasks.0.label.source: invalid value 'peers'", "`kind: co_interaction`"]),
    ("tasks.0.label.source", GONE, ["tasks.0", "`label.source` is needed with kind 'binary', ", "kind is 'retrieval'"]),
    ("tasks.1.label.source", "item", ["tasks.1", "and only there; kind is 'co_interaction'"]),
    ("tasks", [], ["tasks: invalid value []; expected a list with at least 1 entries"]),
    ("tasks", None, ["tasks: invalid value None; expected a list"]),
    ("split", "leave_one_out", ["split: invalid value 'leave_one_out'; expected a mapping"]),
    ("tasks.2.classes", [False, "Drama"], ["tasks.2.classes.0: invalid value False", "put them in quotes"]),
    ("resources", {"training": {"memory": "2GB"}}, ["memory: invalid value '2GB'; expected a value of the form"]),
    ("source", MOVIE_SOURCE, ["source", "`path` is needed with kind 'tables' and only there", "kind is 'movielens'"]),
    ("features.timezone", "Mars/Base", ["features.timezone: invalid value 'Mars/Base'", "'Europe/Berlin'"]),
    ("features.timezone", "../etc", ["features.timezone: invalid value '../etc'", "IANA time zone"]),
    (
        "tasks.0.catalogue",
        GONE,
        ["tasks.0", "`catalogue` is needed with kind 'co_interaction' or 'retrieval'", "kind is 'retrieval'"],
    ),
    ("tasks.2.classes", GONE, ["tasks.2", "`classes` is needed with kind", "kind is 'multilabel'"]),
    ("tasks.2.classes", ["Comedy", "Comedy"], ["tasks.2", "at least two names, each once"]),
    ("model.heads", 3, ["model", "3 does not divide 16"]),
    ("features.profile", ["age", "height"], ["features.profile: 'height'", "allowed: age, occupation"]),
    ("features.context", ["rating"], ["features.context: 'rating' is not a known column; allowed: none"]),
    ("examples", {"contexts": [{"weather": "sun"}]}, ["examples.contexts.0: 'weather'", "allowed: none"]),
    ("text.item", "{colour}", ["text.item: {colour}", "allowed: title, year, genres"]),
    ("text.item", "{title", ["text.item: '{title' is not a template", "allowed: text with {column}"]),
    ("text.item", "{title.__class__}", ["text.item: {title.__class__}", "allowed: title, year, genres"]),
    ("text.profile", "{title}", ["text.profile: {title}", "allowed: age, occupation"]),
    ("text.request", "{query}", ["text.request: {query}", "allowed: profile, daypart, weekpart"]),
    ("text.request_with_query", "{age}", ["text.request_with_query: {age}", "allowed: query, profile"]),
    ("text.queries", ["a {year}", "a {age}"], ["text.queries.1: {age}", "allowed: year, genres"]),
    ("text.queries", ["like {title}"], ["text.queries.0: {title}", "allowed: year, genres"]),
    ("text.query_words", {"title": {"Heat": ["hot"]}}, ["text.query_words: 'title'", "allowed: year, genres"]),
    ("tasks.1.name", "slate", ["tasks.1.name: 'slate' names tensors that are there anyway"]),
    ("tasks.1.name", "item", ["tasks: item given twice", "each name is allowed once"]),
    ("tasks.0.label.column", "stars", ["tasks.0.label.column: 'stars'", "allowed: rating, item_id"]),
    ("tasks.2.label.column", "rating", ["tasks.2.label.column: 'rating'", "allowed: title, year, genres"]),
    ("tasks.2.label.column", GONE, ["tasks.2.label.column: 'nothing'", "allowed: title, year, genres"]),
    ("tasks.1.label.column", "rating", ["tasks.1.label.column: 'rating'", "kind 'co_interaction' has no column"]),
    ("text.item", GONE, ["text.item: missing; it is required with `entities.items`", "is there"]),
    ("features.history_ttl_days", GONE, ["features.history_ttl_days: missing; it is required with"]),
    ("split", {"kind": "leave_one_out", "test": 0.1}, ["split", "only there; kind is 'leave_one_out'"]),
    (
        "evaluation.queries.1.column",
        "rating",
        ["evaluation.queries.1.column: 'rating'", "allowed: title, year, genres"],
    ),
    ("tasks.0.label.at_least", 4, ["tasks.0.label.at_least: invalid value 4.0", "kind 'binary' over a number"]),
    ("tasks.0.label.column", "rating", ["tasks.0.label: 'rating' is not the key of the items"]),
    ("tasks.2.label.column", "title", ["tasks.2.label.column: 'title' holds string", "'multilabel': string_list"]),
    ("tasks.1.label.where.column", "stars", ["tasks.1.label.where.column: 'stars'", "allowed: rating"]),
]
# The meaning of the field follows, from its description.
MEANINGS = [
    ("training.epochs", 0, "(meaning: Number of passes over the training events)"),
    ("title", GONE, "(meaning: Title of the scenario in reports and in the API reference)"),
    ("tasks.0.label.source", "event", "(meaning: Source of the label)"),
    ("entities.items.columns.year.min", "low", "(meaning: Smallest allowed value of a number, in the unit of the"),
    ("entities.items.columns.type", {"type": "date"}, "(meaning: Type of the values)"),
]
TEMPLATES = ["a {title}"]
CHECKS = {"queries": [{"query": "old", "column": "age", "value": "9"}]}
LISTS = {"name": "a", "title": "A", "kind": "co_interaction", "catalogue": "users", "label": {}}
OF_ITEM = {"name": "a", "title": "A", "kind": "binary", "label": {"source": "item", "column": "age"}}
NOT_THERE = "required with `entities.items` and only there, and that is not there"

# Mistakes in a scenario without items.
TEXT_ONLY_MISTAKES = [
    ("features.context", ["topic"], ["features.context: 'topic' is the label of task 'topic'"]),
    ("features.context", ["topic", "topic"], ["features.context: topic given twice"]),
    ("text.item", "{age}", ["text.item: invalid value '{age}'", NOT_THERE]),
    ("features.history_ttl_days", 3, ["features.history_ttl_days: invalid value 3.0", NOT_THERE]),
    ("text.queries", TEMPLATES, ["text.queries: 'a {title}' is a template over items; there is no `entities.items`"]),
    ("text.query_words", {"topic": {"a": ["b"]}}, ["text.query_words: topic; there is no `entities.items`"]),
    ("evaluation", CHECKS, ["evaluation.queries: 'old' requires items; there is no `entities.items`"]),
    ("tasks.0", LISTS, ["tasks.0.kind: 'co_interaction' lists users; that needs `entities.items`"]),
    ("tasks.1", OF_ITEM, ["tasks.1.label.source: 'item' needs `entities.items`; allowed: interaction"]),
    ("tasks.1.label.column", "note", ["tasks.1.label.column: 'note'", "allowed: topic, liked, stars"]),
    ("split", GONE, ["split.kind: 'leave_one_out' needs a history", "allowed: user_holdout"]),
    ("split.test", GONE, ["split", "`test` is needed with kind 'user_holdout' and only there"]),
    ("split.test", 0.9, ["split", "`validation` 0.15 and `test` 0.9 leave nothing to train on"]),
]


def put(mapping: Any, path: str, value: object) -> None:
    *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    for part in parents:
        mapping = mapping[part]
    if value is GONE:
        del mapping[last]
    else:
        mapping[last] = value


@pytest.mark.parametrize(("field", "value", "words"), MISTAKES, ids=[f"{m[0]}={m[1]!r:.20}" for m in MISTAKES])
def test_mistake_is_named(small_scenario_file, tmp_path, field, value, words):
    mapping = yaml.safe_load(small_scenario_file.read_text())
    put(mapping, field, value)
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert [word for word in [str(path), *words] if word not in str(caught.value)] == []


@pytest.mark.parametrize(("field", "value", "meaning"), MEANINGS, ids=[one[0] for one in MEANINGS])
def test_a_mistake_is_explained_by_the_description(small_scenario_file, tmp_path, field, value, meaning):
    test_mistake_is_named(small_scenario_file, tmp_path, field, value, [meaning])


@pytest.mark.parametrize("field", ["training.epoch", "source"])
def test_unknown_fields_and_checks_across_fields_have_no_meaning(small_scenario_file, tmp_path, field):
    mapping = yaml.safe_load(small_scenario_file.read_text())
    put(mapping, field, MOVIE_SOURCE)
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(mapping))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert "meaning" not in str(caught.value)


@pytest.mark.parametrize(("field", "value", "words"), TEXT_ONLY_MISTAKES, ids=[m[0] for m in TEXT_ONLY_MISTAKES])
def test_mistake_in_a_scenario_without_items_is_named(text_only_scenario_file, tmp_path, field, value, words):
    test_mistake_is_named(text_only_scenario_file, tmp_path, field, value, words)


def test_what_a_scenario_without_items_has(text_only_scenario, small_scenario):
    assert not text_only_scenario.has_items
    assert not text_only_scenario.lists_users
    with pytest.raises(ScenarioError, match=r"entities.items: scenario 'notes' has none"):
        _ = text_only_scenario.items
    assert small_scenario.has_items
    assert small_scenario.lists_users


def test_a_query_may_fit_several_values(small_scenario):
    assert [check.values for check in small_scenario.evaluation.queries] == [("Comedy",), ("Western", "Horror")]


def test_some_task_is_trained_with_the_encoder(small_scenario_file, tmp_path):
    mapping = yaml.safe_load(small_scenario_file.read_text())
    path = tmp_path / "added.yaml"
    for task in mapping["tasks"]:
        path.write_text(yaml.safe_dump(mapping, sort_keys=False))
        assert not all(loaded.added for loaded in load_scenario(path).tasks)
        task["added"] = True
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    with pytest.raises(ScenarioError, match="tasks: all of them are `added`"):
        load_scenario(path)


def test_all_mistakes_stand_in_one_message(small_scenario_file, tmp_path):
    mapping = yaml.safe_load(small_scenario_file.read_text())
    put(mapping, "model.dim", 4)
    put(mapping, "encoder.pooling", "max")
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    with pytest.raises(
        ScenarioError, match=r"encoder.pooling: invalid value 'max'.*model.dim: invalid value 4; expected greater"
    ):
        load_scenario(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [("- a\n- b\n", "holds list, allowed: a mapping"), ("a: [", "is not YAML"), ("", "holds NoneType")],
)
def test_file_that_is_no_mapping(tmp_path, content, words):
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(ScenarioError, match=words):
        load_scenario(path)


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(ScenarioError, match=r"none.yaml: cannot be read: No such file"):
        load_scenario(tmp_path / "none.yaml")
    with pytest.raises(ScenarioError, match=r"'nowhere' is not known; allowed: .*movielens"):
        load_scenario("nowhere")


def test_shipped_scenarios_load():
    files = sorted(SCENARIOS.glob("*.yaml"))
    assert files
    for file in files:
        assert load_scenario(file) == load_scenario(file.stem)
        assert load_scenario(file).name == file.stem


def test_derived_names(small_scenario):
    assert small_scenario.feature_service == "small_v1"
    assert small_scenario.task("user").catalogue == "users"
    with pytest.raises(KeyError, match="no task 'category'; there are item, user, scene"):
        small_scenario.task("category")


def test_a_file_that_is_no_yaml_is_one_line(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("name: x\n  title: [a\n")
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    assert str(caught.value) == f"{path}: is not YAML: line 2, column 8: mapping values are not allowed here"


def test_the_language_model_has_a_default(small_scenario_file, small_scenario, tmp_path):
    mapping = yaml.safe_load(small_scenario_file.read_text())
    put(mapping, "encoder", GONE)
    path = tmp_path / "default.yaml"
    path.write_text(yaml.safe_dump(mapping, sort_keys=False))
    loaded = load_scenario(path)
    assert loaded.encoder == small_scenario.encoder
    # What a contract's checksum is made of: bundles that name the language model keep theirs.
    assert loaded.model_dump(exclude_defaults=True) == small_scenario.model_dump(exclude_defaults=True)
    assert loaded.model_dump(exclude_defaults=True)["encoder"]["model"]
