"""`watch`: the report of a run that goes on, in a browser and on the wire."""

from __future__ import annotations

import http.client
import json
import re
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from matrixbench.errors import ExitCode

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write


SLOW = """
name: slow
trials: 500
backends:
  fake:
    kind: llama-server
    binary: ./llama-server
    slots: 1
    env: {FAKE_MODE: "delay:0.5", FAKE_REPLY: '{"content": "Paris"}'}
models: {m: {gguf: model.gguf}}
sampling: {temperature: [1, 2]}
tests:
  - name: test-{{ number }}
    parameters: {number: [1, 2, 3, 4, 5]}
    messages: [{role: user, content: "{{ number }}"}]
    expect: [{content: {contains: Paris}}]
"""


@pytest.mark.process
@pytest.mark.browser
@pytest.mark.usefixtures("fake_binary")
def test_the_map_fills_in_while_the_run_goes_on(
    cli: CommandLine, write: Write, browser: Browser
) -> None:
    """The page follows the run, answers only to its address, and ends with the run."""
    write(SLOW)
    with started(cli, "execute", "exp.yaml") as running:
        assert running.stderr is not None
        assert any("ready" in line for line in running.stderr)
        with started(cli, "watch", "exp.yaml") as watching:
            assert watching.stdout is not None
            url = watching.stdout.readline().strip()
            parts = urlsplit(url)
            assert parts.hostname == "127.0.0.1"
            demand_only_get(parts.port or 0, parts.path.strip("/"))

            page = browser.new_page()
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(url)
            page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
            assert "The run goes on" in page.inner_text("header")
            assert page.locator("[data-squares='10']").count() == 1
            href = page.locator("tbody th a").first.get_attribute("href") or ""
            before = page.inner_text("#answer ~ p")
            page.wait_for_selector(f"#answer ~ p:not(:text-is('{before}'))", timeout=60_000)

            running.send_signal(signal.SIGINT)
            page.wait_for_selector("header:has-text('The run has ended')", timeout=60_000)
            assert running.wait(60) == ExitCode.INTERRUPTED
            assert watching.wait(60) == 0
            assert watching.stderr is not None
            assert "matrixbench report exp.yaml" in watching.stderr.read()
    # What was there last stays there, though its server is gone.
    page.evaluate(f"location.hash = {json.dumps(f'{href}&trial=0')}")
    page.wait_for_selector("#trial")
    assert "Paris" in page.inner_text("main")
    assert complaints == []
    page.close()


def demand_only_get(port: int, token: str) -> None:
    """Check that nothing but GET is answered, and only below the token."""
    assert re.fullmatch(r"[\w-]{32}", token)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for method, path, status in (
        ("GET", "/", 404),
        ("GET", "/index", 404),
        ("GET", f"/{token[:-1]}!/index", 404),
        ("GET", f"/{token}/block/0/999", 404),
        ("GET", f"/{token}/../../etc/passwd", 404),
        ("POST", f"/{token}/index", 501),
        ("DELETE", f"/{token}/", 501),
        ("GET", f"/{token}/index", 200),
    ):
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == status, (method, path)
        connection.close()
    assert json.loads(body)["running"] is True


@contextmanager
def started(cli: CommandLine, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command, and end it in any case."""
    process = cli.start(*words)
    try:
        with process:
            yield process
    finally:
        process.kill()
        process.wait()


def test_without_a_run_there_is_nothing_to_watch(cli: CommandLine, write: Write) -> None:
    """Nobody executes the experiment: exit 3, and how to begin."""
    write(
        """
        name: idle
        backends: {f: {kind: scripted, replies: [a]}}
        tests: [{name: t, messages: [{role: user, content: x}], expect: [{content: {equals: a}}]}]
        """
    )
    done = cli("watch", "exp.yaml")
    assert (done.returncode, "no run of idle goes on" in done.stderr) == (3, True)
    assert "matrixbench execute exp.yaml --resume" in done.stderr
