"""A browser, and reports that it opens: each is made once, whichever worker asks first."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from filelock import FileLock
from playwright.sync_api import sync_playwright

from tests.cli.conftest import ROOT, CommandLine
from tests.output.report.browser import Opened, demand, launched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

SQUARES = """
name: squares
description: Ten thousand squares?
trials: 1
backends: {fake: {kind: scripted, replies: [Paris, London]}}
sampling: {temperature: [TEMPERATURES]}
tests:
  - name: test-{{ number }}
    parameters: {number: [NUMBERS]}
    messages: [{role: user, content: "{{ number }}"}]
    expect: [{content: {contains: Paris}}]
"""

MARKUP = "</script><script>window.hacked=1</script><img src=x onerror=window.hacked=1>"
TURNED = "left\u202eright\u2066 \u200bunseen"
HOSTILE = f"""
name: hostile
description: "{MARKUP}"
trials: 4
backends:
  "{MARKUP}":
    kind: scripted
    replies:
      - "{MARKUP}"
      - "{TURNED} \\u001b[31m\\u0007 red"
      - tool_calls: [{{name: "{MARKUP}", arguments: {{"onclick=alert(1)": "{MARKUP}"}}}}]
      - LONG
sampling: {{temperature: [1]}}
tests:
  - name: "<b onclick=alert(1)>bold</b>"
    messages: [{{role: user, content: "{MARKUP}"}}]
    expect: [{{content: {{contains: "{MARKUP}"}}}}]
  - name: "javascript:alert(1)"
    messages: [{{role: user, content: "<svg onload=window.hacked=1>"}}]
    expect: [{{content: {{contains: Paris}}}}]
"""
LONG = "x" * 1_000_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return the browser; without one the test is skipped, or fails where there must be one."""
    demand()
    with sync_playwright() as playwright, launched(playwright) as browser:
        yield browser


@pytest.fixture
def show(browser: Browser) -> Iterator[Callable[..., Opened]]:
    """Return a function that opens a report; at the end nothing was loaded or complained of."""
    pages: list[Opened] = []

    def opened(report: Path, fragment: str = "", **context: object) -> Opened:
        page = browser.new_page(**context)  # type: ignore[arg-type]
        page.set_default_timeout(20_000)
        found = Opened(page, report.as_uri())
        page.on("request", lambda request: found.requests.append(request.url))
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("dialog", lambda dialog: found.complaints.append(dialog.message))
        pages.append(found)
        found.go(fragment)
        return found

    yield opened
    for one in pages:
        assert one.complaints == []
        assert {url.partition("#")[0] for url in one.requests} <= {one.address, "about:blank"}
        assert one.page.evaluate("window.hacked") is None
        one.page.close()


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that runs an experiment and makes its report, once for all workers."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "reports"
    shared.mkdir(exist_ok=True)

    def report(name: str, text: str, *execute: str, options: tuple[str, ...] = ()) -> Path:
        folder = shared / name
        page = folder / "report.html"
        with FileLock(shared / f"{name}.lock"):
            if not page.exists():
                folder.mkdir(exist_ok=True)
                (folder / "exp.yaml").write_text(text, encoding="utf-8")
                shutil.copytree(
                    ROOT / "experiments/templates", folder / "templates", dirs_exist_ok=True
                )
                cli = CommandLine(folder=folder)
                ran = cli("execute", "exp.yaml", "--resume", *execute, timeout_s=280)
                assert ran.returncode == 0, ran.stderr
                told = cli("report", "exp.yaml", "-o", "report.html", *options)
                assert told.returncode == 0, told.stderr
        return page

    return report


@pytest.fixture(scope="session")
def quickstart(made: Callable[..., Path], model_cache: Path) -> Path:
    """Return a report of the quickstart, run with the real server and model, a trial a cell."""
    text = (ROOT / "experiments/quickstart.yaml").read_text(encoding="utf-8")
    (model_cache).mkdir(parents=True, exist_ok=True)
    baseline = ("--baseline", "chat_template=native")
    return made("quickstart", text, "--trials", "1", options=baseline)


@pytest.fixture(scope="session")
def squares(made: Callable[..., Path]) -> Path:
    """Return a report of 10,000 squares."""
    temperatures = ", ".join(f"{number / 100:g}" for number in range(1, 101))
    numbers = ", ".join(map(str, range(100)))
    text = SQUARES.replace("TEMPERATURES", temperatures).replace("NUMBERS", numbers)
    return made("squares", text)


@pytest.fixture(scope="session")
def hostile(made: Callable[..., Path]) -> Path:
    """Return a report of names and replies that would rather be code."""
    return made("hostile", HOSTILE.replace("LONG", f'"{LONG}"'))
