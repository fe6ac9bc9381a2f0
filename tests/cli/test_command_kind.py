"""Runs against a server that a command line starts: what is resumed, what runs again."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from tests.cli.conftest import FAKE_SERVER, CommandLine, left_behind

if TYPE_CHECKING:
    from tests.conftest import Write

EXPERIMENT = f"""
name: demo
trials: 3
backends:
  own:
    kind: command
    argv:
      - {sys.executable}
      - "{{{{ here }}}}/serve.py"
      - --port={{{{ port }}}}
      - --model={{{{ model }}}}
      - --cache-type-k={{{{ options.kv }}}}
    options: {{kv: [f16, q8_0]}}
    slots: 2
models: {{m: {{gguf: model.gguf}}}}
sampling: {{temperature: [0.5, 1]}}
tests:
  - name: hi
    messages: [{{role: user, content: hi}}]
    expect: [{{content: {{matches: .}}}}]
"""


def prepared(cli: CommandLine, write: Write) -> None:
    """Write an experiment, a model and a server of the user's own."""
    write(EXPERIMENT)
    (cli.folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    (cli.folder / "serve.py").write_text(FAKE_SERVER.read_text(encoding="utf-8"))


def why(cli: CommandLine) -> list[dict[str, int]]:
    """Return for each launch what will run, and why."""
    told: dict[str, Any] = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    return [launch["why"] for launch in told["launches"]]


def test_what_is_there_is_kept_until_the_program_changes(cli: CommandLine, write: Write) -> None:
    """A second run starts nothing; an edited server is noticed before it runs, and measured."""
    prepared(cli, write)
    assert why(cli) == [{"new": 6}, {"new": 6}]
    first = cli("execute", "exp.yaml", "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["outcomes"] == {"passed": 12}
    assert left_behind(cli.folder) == []
    assert why(cli) == [{}, {}]
    again = cli("execute", "exp.yaml", "--resume", "--json")
    assert json.loads(again.stdout)["ran"] == 0
    assert "ready after" not in again.stderr
    with (cli.folder / "serve.py").open("a") as script:
        script.write("# a new version\n")
    assert why(cli) == [{"server changed": 6}, {"server changed": 6}]
    after = cli("execute", "exp.yaml", "--resume", "--json")
    assert json.loads(after.stdout)["outcomes"] == {"passed": 12}


def test_a_server_s_own_words_are_part_of_its_build(cli: CommandLine, write: Write) -> None:
    """Where the same program calls itself otherwise, what it runs next is a build of its own."""
    prepared(cli, write)
    script = cli.folder / "serve.py"
    (cli.folder / "version").write_text("b9626-fa4e5e7")
    words = 'BUILD_INFO = Path(__file__).with_name("version").read_text()'
    script.write_text(script.read_text().replace('BUILD_INFO = "b9626-fa4e5e7"', words))
    assert cli("execute", "exp.yaml").returncode == 0
    (cli.folder / "version").write_text("b9999-0000000")
    assert why(cli) == [{}, {}]
    more = cli("execute", "exp.yaml", "--resume", "--trials", "4", "--json")
    assert json.loads(more.stdout)["outcomes"] == {"passed": 16}, more.stderr
