"""Chromium for tests of pages, and the errors of its log."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = os.environ.get("POLYTASK_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@dataclass
class Log:
    """Errors that a page's console, scripts and requests reported."""

    errors: list[str] = field(default_factory=list)

    def follow(self, page: Page) -> None:
        page.on(
            "console", lambda logged: self.errors.append(logged.text) if logged.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("requestfailed", lambda request: self._failed(request.url, request.failure))

    def _failed(self, url: str, failure: str | None) -> None:
        if failure != "net::ERR_ABORTED":  # a response that a later request made needless
            self.errors.append(f"{url}: {failure}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless Chromium, the machine's own. Skips where there is none: `make browser` installs it."""
    if CHROMIUM is None or not Path(CHROMIUM).is_file():
        pytest.skip("Chromium is not installed: `make browser` installs it where apt and root are there")
    # Root has no sandbox of its own user; the pages are ours and come from this machine.
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        try:
            yield browser
        finally:
            browser.close()
