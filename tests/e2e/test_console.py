"""The console in a real browser over a real stack: looked at, typed into, clicked, used with the keyboard, without
its recommender, and by those who cannot see it.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from serving.console.app import Console, build_app
from serving.console.directory import Directory
from serving.console.explanation import ExplainerClient
from serving.console.service import Service
from serving.local.explainer import ExplainerProcess
from serving.local.stack import LocalStack
from serving.transformer.bundle import Bundle, load_bundle
from serving.transformer.features.reader import FeatureReader
from tests.e2e.browser import Log, chromium

SERIOUS = ("serious", "critical")
PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}


@contextmanager
def served(console: Console) -> Iterator[str]:
    """The page's address while a thread serves it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(build_app(console), log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def bundle(small_bundle: Path) -> Bundle:
    return load_bundle(small_bundle)


@pytest.fixture(scope="module")
def directory(bundle: Bundle, small_store: Path) -> Directory:
    scenario = bundle.contract.scenario
    return Directory(scenario, bundle.catalogues, FeatureReader(small_store, scenario))


@pytest.fixture(scope="module")
def address(bundle: Bundle, directory: Directory, small_stack: LocalStack) -> Iterator[str]:
    service = Service(small_stack.grpc_url)
    with served(Console(directory, service, Service(small_stack.grpc_url), bundle.checksum)) as address:
        yield address


@pytest.fixture(scope="module")
def explained(
    directory: Directory,
    small_stack: LocalStack,
    small_bundle: Path,
    small_store: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A console with an explainer and a recommender."""
    log = tmp_path_factory.mktemp("explainer") / "explainer.log"
    process = ExplainerProcess(small_stack.triton.grpc_address, small_bundle, small_store, log)
    try:
        process.start()
        process.wait_until_ready()
        with served(
            Console(directory, Service(small_stack.grpc_url), explainer=ExplainerClient(process.url))
        ) as address:
            yield address
    finally:
        process.stop()


@pytest.fixture(scope="module")
def broken(directory: Directory) -> Iterator[str]:
    """A console whose recommender is unavailable."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        with served(Console(directory, Service(f"127.0.0.1:{unused.getsockname()[1]}"))) as address:
            yield address


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens an address; at the end the browser's log must be empty."""
    log, contexts = Log(), []

    def open_page(address: str, size: dict = DESKTOP, scheme: str = "light", **options) -> Page:
        contexts.append(browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce", **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        log.follow(page)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert log.errors == []


def keys(page: Page, prefix: str = "item") -> list[str]:
    return page.eval_on_selector_all(
        f'[data-key^="{prefix}-"]', "rows => rows.map(row => row.dataset.key.split('-').slice(1).join('-'))"
    )


def test_a_query_moves_the_lists_and_the_address_holds_it(open_page: Open, address: str):
    page = open_page(f"{address}/?user=10")
    assert len(keys(page)) == 10
    expect(page.locator("#status")).to_contain_text("version 77")
    expect(page.locator("#history li")).to_have_count(10)
    page.get_by_label("What does the user look for?").fill("a ghost story")
    page.wait_for_url("**/?user=10&query=a+ghost+story")
    expect(page.locator(".results .items .move").first).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "query"
    shared = open_page(page.url)
    assert keys(shared) == keys(page)
    assert shared.input_value("#query") == "a ghost story"
    page.go_back()
    page.wait_for_url("**/?user=10")
    expect(page.locator(".results .move")).to_have_count(0)
    # The field has the focus and what is typed in it stays the user's; a link sets it.
    page.get_by_label("What does the user look for?").fill("again")
    page.wait_for_url("**query=again")
    page.get_by_role("link", name="start over").click()
    expect(page.locator("#query")).to_have_value("")


def test_less_of_this_with_the_keyboard_alone(open_page: Open, address: str):
    page = open_page(f"{address}/?user=10")
    first = keys(page)[0]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    while page.evaluate("document.activeElement.id") != f"less-item-{first}":
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement !== document.body")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/?user=10&less={first}")
    expect(page.locator(f'[data-key="item-{first}"]')).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == f"less-{first}"  # where it can be taken back
    page.keyboard.press("Enter")
    page.wait_for_url("**/?user=10")
    assert keys(page)[0] == first


def test_a_session_item_by_its_title(open_page: Open, address: str, directory: Directory):
    page = open_page(f"{address}/?user=10")
    thing = directory.suggest("items", keys(page)[0])[0]
    with page.expect_response("**/suggest/items?*"):
        page.get_by_label("Add to this session").press_sequentially(thing.title[:6])
    expect(page.locator("datalist#items option").first).to_be_attached()
    page.get_by_label("Add to this session").fill(thing.title)
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_contain_text(f"session: {thing.title}")
    expect(page.get_by_label("Add to this session")).to_have_value("")
    assert thing.id not in keys(page)


def test_tasks_and_priorities(open_page: Open, address: str):
    page = open_page(f"{address}/?user=10")
    page.get_by_role("checkbox", name="Similar users").uncheck()
    page.wait_for_url("**/?user=10&task=item&task=scene")
    expect(page.locator(".results > .task")).to_have_count(2)
    assert not any(key.startswith("user-") for key in keys(page, "slate"))
    page.get_by_role("checkbox", name="Similar users").check()
    page.wait_for_url("**/?user=10")
    before = keys(page, "slate")
    slider = page.get_by_label("priority of Category")
    slider.focus()
    page.keyboard.press("End")
    page.wait_for_url("**weight.scene=1")
    expect(page.locator("#learned")).to_contain_text("yours")
    assert keys(page, "slate") != before
    assert keys(page, "slate")[0].startswith("scene-")
    expect(page.locator("#shown-scene")).to_have_text("1.00")
    page.get_by_role("link", name="Back to the user's own").click()
    page.wait_for_url("**/?user=10")
    assert keys(page, "slate") == before


def test_filters_on_attributes(open_page: Open, address: str, directory: Directory):
    page = open_page(f"{address}/?user=10")
    page.get_by_label("genres").select_option("Horror")
    page.wait_for_url("**/?user=10&filter.genres=Horror")
    page.get_by_label("year, to").fill("1970")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?user=10&to.year=1970&filter.genres=Horror")
    expect(page.locator("#from-year")).to_have_value("")
    about = [directory.item(int(key)).about for key in keys(page)]
    assert about and all("horror" in text.casefold() for text in about)
    assert all(int(text.split(" · ")[0]) <= 1970 for text in about)
    page.get_by_role("link", name="start over").click()
    page.wait_for_url("**/?user=10")
    expect(page.get_by_label("genres")).to_have_value("")


def test_why_an_entry_is_in_its_list(open_page: Open, explained: str):
    page = open_page(f"{explained}/?user=10")
    third = keys(page)[2]
    page.locator(f"#explain-item-{third}").click()
    page.wait_for_url(f"**/?user=10&why.item={third}")
    named = page.locator(f'[data-key="item-{third}"] .title').inner_text()
    expect(page.locator("#why-item")).to_have_text(f"Why {named}?")
    expect(page.locator("#why-user")).to_have_count(0)
    page.get_by_label("Explain the first of each list").check()
    expect(page.locator("#why-scene + ul.why li").first).to_be_visible()
    serious = [fault["id"] for fault in Axe().run(page).response["violations"] if fault["impact"] in SERIOUS]
    assert serious == []


def test_two_versions_beside_each_other(open_page: Open, address: str):
    page = open_page(f"{address}/?user=10")
    page.get_by_label("Compare with").check()
    page.wait_for_url("**/?user=10&compare=on")
    expect(page.locator(".beside").first).to_be_visible()
    assert keys(page, "other-item")[0].removeprefix("item-") == keys(page)[0]


def test_an_unknown_user_is_a_cold_start(open_page: Open, address: str):
    page = open_page(f"{address}/?user=999999")
    expect(page.locator("#person")).to_contain_text("Nothing is known about this user")
    assert keys(page)


def test_without_its_script_the_page_works_too(open_page: Open, address: str):
    page = open_page(f"{address}/?user=10", java_script_enabled=False)
    page.get_by_label("What does the user look for?").fill("a ghost story")
    page.get_by_role("button", name="Recommend").click()
    expect(page.locator(".results .move").first).to_be_visible()


def test_the_service_is_down(open_page: Open, broken: str):
    page = open_page(f"{broken}/?user=10")
    expect(page.get_by_role("alert")).to_contain_text("make serve")
    expect(page.locator("#status")).to_contain_text("no response")
    expect(page.locator("#history li")).to_have_count(10)
    page.get_by_role("link", name="Try again").click()
    expect(page.get_by_role("alert")).to_be_visible()


FULL, COMPARED, DOWN = "/?user=10&query=a+ghost&less=7&recent=14&filter.genres=Horror", "/?user=10&compare=on", "down"


@pytest.mark.parametrize(
    ("state", "size", "scheme"),
    [
        (FULL, DESKTOP, "light"),
        (FULL, DESKTOP, "dark"),
        (FULL, PHONE, "dark"),
        (COMPARED, PHONE, "light"),
        (DOWN, DESKTOP, "dark"),
    ],
)
def test_no_serious_accessibility_fault(
    open_page: Open, address: str, broken: str, state: str, size: dict, scheme: str
):
    page = open_page(f"{broken}/?user=10" if state == DOWN else address + state, size, scheme)
    found = Axe().run(page)
    assert found.response["passes"], "the checker checked nothing"
    serious = [
        f"{fault['id']}: {[node['html'] for node in fault['nodes']]}"
        for fault in found.response["violations"]
        if fault["impact"] in SERIOUS
    ]
    assert serious == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
