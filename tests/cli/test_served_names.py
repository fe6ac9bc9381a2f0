"""A server that answers for whatever model is asked for: said once, or the end of the launch."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import FAKE_SERVER
from tests.fake_servers import fake_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """\
name: names
trials: 3
canary: false
backends: {{e: {{kind: endpoint, url: "{url}/v1"{more}}}}}
models: {{small: {{id: tiny-instruct}}, large: {{id: huge-235b}}}}
tests: [{{name: t, messages: [{{role: user, content: hi}}], expect: [{{content: {{matches: .}}}}]}}]
"""


@pytest.fixture
def url() -> Iterator[str]:
    """Return the url of a server that has one model."""
    with fake_server(flags=["--alias", "tiny-instruct"]) as running:
        yield running


def names(cli: CommandLine) -> list[tuple[str, str | None, int]]:
    """Return launch and model of the stored trials, and how many there are."""
    with closing(sqlite3.connect(cli.folder / ".matrixbench" / "results.db")) as store:
        return store.execute(
            "SELECT launch.name, trial.model, count(*) FROM trial "
            "JOIN launch ON launch.id = trial.launch GROUP BY 1, 2 ORDER BY 1"
        ).fetchall()


def test_another_model_is_told_once(cli: CommandLine, write: Write, url: str) -> None:
    """Its trials are kept under the name that the replies bore, and exit with 0."""
    write(EXPERIMENT.format(url=url, more=""))
    done = cli("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("does not list the model «huge-235b»") == 1
    assert "it has: tiny-instruct" in done.stderr
    assert "does not list the model «tiny-instruct»" not in done.stderr
    assert "answered" not in done.stderr
    assert names(cli) == [
        ("e · large · native", "tiny-instruct", 3),
        ("e · small · native", "tiny-instruct", 3),
    ]


def test_strictness_stops_the_launch_before_it_asks(
    cli: CommandLine, write: Write, url: str
) -> None:
    """The other model's launch runs; the exit code says that one was given up."""
    write(EXPERIMENT.format(url=url, more=", strict_model: true"))
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 7, done.stderr
    summary = json.loads(done.stdout)
    assert list(summary["failed_launches"]) == ["e · large · native"]
    assert names(cli) == [("e · small · native", "tiny-instruct", 3)]


COMMAND = f"""\
name: names
trials: 5
canary: false
backends:
  c:
    kind: command
    argv: [{sys.executable}, {FAKE_SERVER}, "--port={{{{ port }}}}", "--alias=tiny-instruct"]
    slots: 1
    env: {{FAKE_MODE: "LISTS"}}
    strict_model: STRICT
models: {{large: {{id: huge-235b}}}}
tests: [{{name: t, messages: [{{role: user, content: hi}}], expect: [{{content: {{matches: .}}}}]}}]
"""


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("strict", [True, False])
def test_the_replies_tell_where_there_is_no_list(
    cli: CommandLine, write: Write, lists: bool, strict: bool
) -> None:
    """A command's server is held to its names as an endpoint is."""
    text = COMMAND.replace("STRICT", str(strict).lower())
    write(text.replace("LISTS", "" if lists else "no_models"))
    done = cli("execute", "exp.yaml")
    told = "does not list the model «huge-235b»" if lists else "«tiny-instruct» answered"
    assert done.returncode == (4 if strict else 0), done.stderr
    assert told in done.stderr
    assert strict or done.stderr.count(told) == 1
    asked = {(True, True): [], (False, True): [("c · large · native", None, 1)]}
    everything = [("c · large · native", "tiny-instruct", 5)]
    assert names(cli) == asked.get((lists, strict), everything)
