"""The users that can be picked, and the known data of each."""

import pytest

from polytask.data.catalogue import catalogues_of
from polytask.data.tables import Tables
from polytask.errors import RequestError
from polytask.scenario import Scenario
from serving.console.directory import SUGGESTIONS, Directory
from serving.transformer.concurrency.deadline import Unavailable


def test_a_user_is_a_key_and_nobody_typed_is_the_first(directory: Directory):
    assert (directory.user_key(""), directory.user_key("20")) == (10, 20)
    assert directory.user(20).title == "20"
    assert directory.user(999).title == ""
    with pytest.raises(RequestError, match="user: 'ten', allowed: a whole number"):
        directory.user_key("ten")
    with pytest.raises(RequestError, match="user"):
        directory.user_key(str(2**63))


def test_an_item_is_found_by_key_and_by_title(directory: Directory):
    thing = directory.item(directory.item_key("recent", "14"))
    assert directory.item_key("recent", thing.title.upper()) == 14
    assert "1951" in thing.about
    assert thing.title not in thing.about
    with pytest.raises(RequestError, match="less: 'No such film', allowed: the key or the full title"):
        directory.item_key("less", "No such film")
    with pytest.raises(RequestError, match="recent: '15'"):
        directory.item_key("recent", "15")


def test_suggestions_are_few_and_keys_come_first(directory: Directory):
    assert [thing.id for thing in directory.suggest("items", "7")][:2] == ["7", "70"]
    assert len(directory.suggest("users", "")) == SUGGESTIONS
    found = directory.suggest("items", "number 59")
    assert [thing.id for thing in found] == ["420"]
    assert directory.suggest("anything", "a") == []


def test_history_runs_from_newest_to_oldest(directory: Directory):
    person = directory.person(10)
    assert [thing.id for thing in person.history] == ["21", "14", "7"]
    assert dict(person.profile) == {"age": "33", "occupation": "writer"}
    assert person.known
    assert not directory.person(999).known


def test_another_user_goes_round(directory: Directory):
    seen, user = [], 10
    for _ in range(30):
        user = directory.user_key(directory.another_user(user))
        seen.append(user)
    assert len(set(seen)) == 30
    assert directory.another_user(999) == directory.another_user(999)


def test_a_store_that_fails_is_told(small_scenario: Scenario, tables: Tables):
    class Failing:
        def read(self, users, moments):
            raise Unavailable("feature store: ConnectionError: refused")

    catalogues = catalogues_of(small_scenario, tables)
    assert "refused" in Directory(small_scenario, catalogues, Failing()).person(10).trouble
    assert "--feature-store" in Directory(small_scenario, catalogues, None).person(10).trouble


def test_without_items_there_is_none(text_only_scenario: Scenario, notes: Tables):
    directory = Directory(text_only_scenario, catalogues_of(text_only_scenario, notes), None)
    with pytest.raises(RequestError, match="recent"):
        directory.item_key("recent", "1")
    assert directory.suggest("items", "1") == []
