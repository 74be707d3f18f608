"""Explanations as bars, requested with the values of the page, and a message if there are none."""

import re

import pytest
from starlette.testclient import TestClient

from polytask.client import Explanation, Ranked, ServiceUnavailable, TaskExplanation
from polytask.client.explain import ItemContribution, WordsContribution
from polytask.scenario.schema import Text
from serving.console.app import Console, build_app
from serving.console.directory import Directory
from serving.console.explanation import SHOWN, ExplainerClient, reasons
from serving.console.service import Service
from tests.serving.console.known import CHECKSUM, KnownRecommender

HISTORY = (ItemContribution(14, "<Film 14>", 0.5, False), ItemContribution(21, "", -0.25, False))
WORDS = (WordsContribution("query", 0, "ghost", 1.0, True), WordsContribution("profile", "age", "33", 0.0, False))
TEXT = Text(profile="{age}", request="{profile}", request_with_query="{query}")
ITEM = TaskExplanation(Ranked(7, "Film 7", 2.0), HISTORY, WORDS)


def explanation(tasks: dict) -> Explanation:
    return Explanation(10, tasks, False, False, False, "5", CHECKSUM)


def page_of(directory: Directory, send_request, address: str) -> str:
    console = Console(
        directory, Service("one:1", KnownRecommender()), explainer=ExplainerClient("http://why:1", send_request)
    )
    return TestClient(build_app(console), base_url="http://127.0.0.1").get(address).text


def test_the_largest_come_first_and_what_lowers_goes_left():
    found = reasons(ITEM, TEXT)
    assert [(reason.text, reason.kind, reason.contribution) for reason in found] == [
        ("ghost", "query", "≥ +1.00"),
        ("<Film 14>", "history", "+0.50"),
        ("21", "history", "-0.25"),
    ]
    assert [(reason.start, reason.share) for reason in found] == [(50, 50), (50, 25), (37.5, 12.5)]
    many = tuple(ItemContribution(n, "", float(n), False) for n in range(1, 20))
    assert [reason.text for reason in reasons(TaskExplanation(None, many, ()), TEXT)] == [
        str(n) for n in range(19, 19 - SHOWN, -1)
    ]
    assert reasons(TaskExplanation(None, (), ()), TEXT) == ()


def test_values_are_called_by_their_column_and_said_in_words():
    found = reasons(
        TaskExplanation(
            None,
            (),
            (
                WordsContribution("profile", "gender", "M", 3.0, False),
                WordsContribution("context", "part_of_day", "evening", 2.0, False),
                WordsContribution("query", 0, "M", 1.0, False),
            ),
        ),
        TEXT.model_copy(update={"words": {"gender": {"M": "man"}}}),
    )
    assert [(reason.kind, reason.text) for reason in found] == [
        ("gender", "man"),
        ("part of day", "evening"),
        ("query", "M"),
    ]


def test_it_asks_what_the_page_asks(directory: Directory):
    requested = {}

    def send_request(address: str, user: int, **details) -> Explanation:
        requested.update(address=address, user=user, **details)
        return explanation({"item": ITEM})

    page = page_of(
        directory, send_request, "/?user=10&query=a+ghost&less=7&recent=14&task=item&filter.genres=Horror&why=on"
    )
    assert requested.pop("deadline_seconds") > 0
    assert requested == {
        "address": "http://why:1",
        "user": 10,
        "query": "a ghost",
        "recent_items": (14,),
        "disliked_items": (7,),
        "tasks": ["item"],
        "targets": {},
        "filters": ["genres=Horror"],
    }
    assert "Why Film 7?" in page
    assert "&lt;Film 14&gt;" in page
    assert re.search(r'class="against" x="37.5%" width="12.5%"', page)
    requested.clear()
    assert "Why Film 7?" not in page_of(directory, send_request, "/?user=10")
    assert requested == {}


def test_every_entry_can_be_asked_about(directory: Directory):
    requested = {}

    def send_request(address: str, user: int, **details) -> Explanation:
        requested.update(details)
        return explanation({"item": ITEM})

    page = page_of(directory, send_request, "/?user=10")
    assert 'href="/?user=10&amp;why.item=14"' in page
    assert 'href="/?user=10&amp;why.scene=Comedy"' in page
    assert page.count('aria-label="why: &lt;Film 14&gt;"') == 1
    page = page_of(directory, send_request, "/?user=10&why.item=14&why.user=20")
    assert (requested["tasks"], requested["targets"]) == (["item", "user"], {"item": 14, "user": 20})
    page_of(directory, send_request, "/?user=10&why=on&why.scene=Comedy&task=item&task=scene")
    assert (requested["tasks"], requested["targets"]) == (["item", "scene"], {"scene": "Comedy"})
    assert "item: &#39;x&#39;, allowed: the key" in page_of(directory, send_request, "/?user=10&why.item=x")


@pytest.mark.parametrize("error", [ServiceUnavailable("explainer at http://why:1: refused")])
def test_answers_stand_without_it(directory: Directory, error: Exception):
    def send_request(address: str, user: int, **details) -> Explanation:
        raise error

    page = page_of(directory, send_request, "/?user=10&why=on")
    assert "explainer at http://why:1: refused" in page
    assert 'data-key="item-7"' in page


def test_without_an_explainer_there_is_no_switch(directory: Directory):
    console = Console(directory, Service("one:1", KnownRecommender()))
    page = TestClient(build_app(console), base_url="http://127.0.0.1").get("/?user=10&why=on").text
    assert 'name="why"' not in page
    assert "why.item" not in page
