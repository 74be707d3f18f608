"""The page as text: its layout, the requests to the recommender, errors, and the security of the page."""

import re
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from polytask.client import ServiceUnavailable
from polytask.data.catalogue import catalogues_of
from polytask.data.tables import Tables
from polytask.errors import RequestError, ServingError
from polytask.scenario import Scenario
from serving.console.app import Console, build_app
from serving.console.directory import Directory
from serving.console.service import Service
from tests.serving.console.known import CHECKSUM, KnownFeatures, KnownRecommender

Open = Callable[..., TestClient]


@pytest.fixture
def open_page(directory: Directory) -> Open:
    def open_page(first: KnownRecommender, second: KnownRecommender | None = None, checksum: str = "") -> TestClient:
        other = None if second is None else Service("two:2", second)
        console = Console(directory, Service("one:1", first), other, checksum)
        return TestClient(build_app(console), base_url="http://127.0.0.1")

    return open_page


def keys(page: str, prefix: str) -> list[str]:
    return re.findall(rf'data-key="{prefix}-([^"]+)"', page)


def test_the_page_shows_a_user_and_all_tasks(open_page: Open):
    recommender = KnownRecommender()
    page = open_page(recommender).get("/?user=10").text
    for text in (
        "Small data made by the tests",
        "History: last 3, newest first",
        "33",
        "writer",
        "Next",
        "Similar users",
        "Category",
    ):
        assert text in page
    assert "version 5" in page
    assert keys(page, "item") == [str(key) for key in range(7, 77, 7)]
    assert keys(page, "scene") == ["Comedy", "Drama"]
    assert keys(page, "slate") == ["item-7", "scene-Comedy"]
    assert 'class="move' not in page
    for text in ("text encoder", "7.0 ms", "network and waiting"):
        assert text in page
    [call] = recommender.calls
    assert (len(call["questions"]), call["questions"][0].user, call["k"], call["task_weights"]) == (1, 10, 10, None)


def test_a_query_moves_the_lists(open_page: Open):
    recommender = KnownRecommender()
    page = open_page(recommender).get("/?user=10&query=a+ghost").text
    assert keys(page, "item")[0] == "84"
    assert "was not among the first 10" in page  # 84 was the twelfth
    assert "up 1, was 7" in page  # twelve items turned around: 49 went from the seventh to the sixth place
    assert [question.query for question in recommender.calls[0]["questions"]] == [None, "a ghost"]


def test_less_of_this_and_the_session_are_asked_and_can_be_taken_back(open_page: Open):
    recommender = KnownRecommender()
    page = open_page(recommender).get("/?user=10&less=7&recent=14").text
    question = recommender.calls[0]["questions"][1]
    assert (list(question.recent_items), list(question.disliked_items)) == ([14], [7])
    assert not {"7", "14"} & set(keys(page, "item"))
    assert 'href="/?user=10&amp;recent=14"' in page  # takes back "less of 7"
    assert 'href="/?user=10&amp;recent=14&amp;less=7&amp;less=21"' in page  # adds "less of 21"


def test_words_about_the_moment_are_asked(small_scenario: Scenario, tables: Tables):
    features = small_scenario.features.model_copy(update={"context": ("weather",)})
    scenario = small_scenario.model_copy(update={"features": features})
    recommender = KnownRecommender()
    directory = Directory(scenario, catalogues_of(scenario, tables), KnownFeatures())
    client = TestClient(build_app(Console(directory, Service("one:1", recommender))), base_url="http://127.0.0.1")
    page = client.get("/?user=10&context.weather=rain&context.place=beach").text
    assert [dict(question.context) for question in recommender.calls[0]["questions"]] == [{}, {"weather": "rain"}]
    assert re.search(r'name="context.weather" value="rain"', page)
    assert "same place" in page  # moves are counted from the lists without it


def test_fields_for_attributes_are_filters(open_page: Open):
    recommender = KnownRecommender()
    client = open_page(recommender)
    page = client.get("/?user=10").text
    assert recommender.calls[-1]["filters"] is None
    chosen = page[page.index('name="filter.genres"') : page.index("</select>")]
    assert re.findall(r"<option>(\w+)", chosen) == ["Comedy", "Drama", "Horror", "Western"]
    page = client.get("/?user=10&filter.genres=Horror&from.year=1950&to.year=1960&filter.colour=red").text
    assert recommender.calls[-1]["filters"] == ["year=1950..1960", "genres=Horror"]
    assert "<option selected>Horror" in page
    assert re.search(r'name="from.year" value="1950"', page)
    assert "start over" in page
    client.get("/?user=10&to.year=1960")
    assert recommender.calls[-1]["filters"] == ["year=..1960"]


def test_tasks_and_priorities(open_page: Open):
    recommender = KnownRecommender()
    client = open_page(recommender)
    page = client.get("/?user=10&task=item&weight.item=0.5&weight.scene=1").text
    assert recommender.calls[-1]["tasks"] == ["item"]
    assert recommender.calls[-1]["task_weights"] == {"item": 0.5}
    assert 'id="on-item" checked' in page
    assert 'id="on-scene">' in page
    assert keys(page, "scene") == []
    learned = client.get("/?user=10").text
    assert re.search(r'value="0.5"[^>]*id="weight-item"', learned)
    assert "Learned from" in learned


def test_two_versions_stand_beside_each_other(open_page: Open):
    client = open_page(KnownRecommender(), KnownRecommender(version="6"))
    assert "Compare with two:2" in client.get("/?user=10").text
    page = client.get("/?user=10&compare=on").text
    assert "version 6" in page
    assert keys(page, "other-item") == keys(page, "item")
    assert "same place" in page
    failing = open_page(KnownRecommender(), KnownRecommender(error=ServiceUnavailable("two:2: refused")))
    page = failing.get("/?user=10&compare=on").text
    assert "The second recommender returned no response" in page
    assert keys(page, "item")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (ServiceUnavailable("recommender at one:1: connection refused"), "make serve"),
        (RequestError("query", "is too long"), "Change the field that is named"),
        (ServingError("recommender at one:1: INTERNAL"), "log has details"),
    ],
)
def test_no_answer_says_why_and_what_to_do(open_page: Open, error: Exception, advice: str):
    response = open_page(KnownRecommender(error=error)).get("/?user=10")
    assert response.status_code == 200
    assert str(error) in response.text
    assert advice in response.text
    assert "History: last 3, newest first" in response.text  # the half that is known stays
    assert 'role="alert"' in response.text


def test_a_field_that_is_wrong_is_named(open_page: Open):
    recommender = KnownRecommender()
    client = open_page(recommender)
    assert "user: &#39;ten&#39;, allowed: a whole number" in client.get("/?user=ten").text
    assert "less: &#39;x&#39;, allowed" in client.get("/?user=10&less=x").text
    assert recommender.calls == []


def test_what_others_wrote_is_escaped_and_nothing_comes_from_elsewhere(open_page: Open):
    response = open_page(KnownRecommender()).get('/?user=10&query="><script>alert(1)</script>&recent=<b>')
    page = response.text
    assert "<Film" not in page
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert re.findall(r"<script[^>]*>", page) == ['<script src="/static/console.js" defer>']
    assert " style=" not in page
    assert not re.search(r"\son\w+=", page)
    assert not re.search(r'(?:href|src|action)="(?!/|#)', page)
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "unsafe" not in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"


def test_only_this_machine_is_answered(open_page: Open):
    client = open_page(KnownRecommender())
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/suggest/users", headers={"host": "evil.example:8700"}).status_code == 400
    assert client.get("/", headers={"host": "localhost:8700"}).status_code == 200


@pytest.mark.parametrize("path", ["/page.css", "/static/console.css", "/static/console.js", "/static/icon.svg"])
def test_files_of_the_page_are_there(open_page: Open, path: str):
    response = open_page(KnownRecommender()).get(path)
    assert response.status_code == 200
    assert response.headers["x-content-type-options"] == "nosniff"


def test_suggestions(open_page: Open):
    client = open_page(KnownRecommender())
    assert client.get("/suggest/users?text=30").json()[0]["id"] == "30"
    assert client.get("/suggest/items?text=number+59").json()[0]["id"] == "420"


def test_titles_of_another_version_are_marked(open_page: Open):
    assert "start the console again" in open_page(KnownRecommender(), checksum="d" * 64).get("/").text
    assert "start the console again" not in open_page(KnownRecommender(), checksum=CHECKSUM).get("/").text
