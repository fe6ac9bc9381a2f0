"""A real browser, as the tests of pages drive it."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page, Playwright

DEMANDED = "MATRIXBENCH_TEST_BROWSER"
"""Set where there must be a browser: its absence fails the tests, which are skipped otherwise."""

_ALONE = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str | None:
    """Return the browser of this machine; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def demand() -> str:
    """Return the browser, or skip the test; where one is demanded, fail."""
    found = chromium()
    if found is None:
        told = "no chromium on PATH: the tests of pages are skipped (apt-get install chromium)"
        if os.environ.get(DEMANDED):
            pytest.fail(told)
        pytest.skip(told)
    return found


@contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """Start the browser, which speaks to nobody, and end it."""
    browser = playwright.chromium.launch(executable_path=demand(), args=list(_ALONE))
    try:
        yield browser
    finally:
        browser.close()


@dataclass(frozen=True, eq=False)
class Opened:
    """A page of a report, and what the browser had to say of it."""

    page: Page
    address: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def go(self, fragment: str = "") -> Page:
        """Open a place of the report and wait until it is shown."""
        self.page.goto(f"about:blank#{len(self.requests)}")
        self.page.goto(self.address + fragment)
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self.page


class Show(Protocol):
    """Opens a report; at the end of the test nothing was loaded or complained of."""

    def __call__(self, report: Path, fragment: str = "", **context: Any) -> Opened:
        """Open a place of it, in a browser of some kind (`Browser.new_page`)."""
