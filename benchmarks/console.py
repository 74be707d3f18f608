"""The console in headless Chromium: milliseconds to its first paint, and from the recommender's reply to new lists."""

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import uvicorn

from benchmarks.figures import Figure
from benchmarks.workbench import Workbench
from polytask.errors import ServingError
from serving.console.app import Console, build_app
from serving.console.directory import Directory
from serving.console.service import Service
from serving.local.triton import HOST

if TYPE_CHECKING:
    from playwright.sync_api import Page

FIRST_PAINT_MS, REDRAW_MS = 1000.0, 300.0
PAGES, QUERIES = 5, 10
DEADLINE_SECONDS = 20.0
FIRST_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
# From the start of the page's own request to the frame after the swap, without the time that the recommender took.
REDRAWS = """performance.getEntriesByName('redraw').map((redraw) => {
  const end = redraw.startTime + redraw.duration;
  const requested = performance.getEntriesByType('resource').filter((entry) =>
    entry.initiatorType === 'fetch' && entry.serverTiming.length && entry.startTime < end).at(-1);
  return end - requested.startTime - requested.serverTiming[0].duration;
})"""


def measure(bench: Workbench, rounds: int) -> list[Figure]:
    """Per round the median over a few new windows, and over a few typed queries in one of them."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("POLYTASK_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        raise ServingError("Chromium is not installed; `make browser` installs it, or POLYTASK_CHROMIUM names it")
    scenario = bench.contract.scenario
    console = Console(Directory(scenario, bench.bundle.catalogues, bench.reader), Service(bench.stack.grpc_url))
    paints: list[float] = []
    redraws: list[float] = []
    with _served(console) as address, sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        with playwright.chromium.launch(executable_path=program, args=sandbox) as browser:
            for number in range(rounds):
                found = []
                for _ in range(bench.size(PAGES, 1)):
                    context = browser.new_context()  # nothing in its cache
                    page = context.new_page()
                    page.goto(address)
                    found.append(float(_until(page, FIRST_PAINT)))
                    context.close()
                paints.append(median(found))
                page = browser.new_context().new_page()
                page.goto(address)
                for count in range(1, bench.size(QUERIES, 1) + 1):
                    page.fill("#query", f"a story about number {number * 1000 + count}")
                    _until(page, f"performance.getEntriesByName('redraw').length >= {count}")
                redraws.append(median(page.evaluate(REDRAWS)))
                page.context.close()
    return [
        Figure(
            "console_first_paint_ms",
            "milliseconds from an address to the first paint of the page with recommendations, nothing cached",
            {"desktop": paints},
            bar=FIRST_PAINT_MS,
            bar_is="at most",
        ),
        Figure(
            "console_redraw_ms",
            "milliseconds from a typed query's request to the frame with its lists, without the recommender's own",
            {"desktop": redraws},
            bar=REDRAW_MS,
            bar_is="at most",
        ),
    ]


def _until(page: "Page", expression: str) -> Any:
    """The first value of an expression that is true. Playwright's own wait evaluates text, which the page forbids."""
    end = time.monotonic() + DEADLINE_SECONDS
    while not (value := page.evaluate(expression)):
        if time.monotonic() > end:
            raise ServingError(f"the console did not get so far within {DEADLINE_SECONDS:g} s: {expression}")
        time.sleep(0.01)
    return value


@contextmanager
def _served(console: Console) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        server = uvicorn.Server(uvicorn.Config(build_app(console), log_level="warning", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        end = time.monotonic() + DEADLINE_SECONDS
        while not server.started:
            if time.monotonic() > end:
                raise ServingError("the console did not start")
            time.sleep(0.02)
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}/"
        finally:
            server.should_exit = True
            thread.join(DEADLINE_SECONDS)
