"""What a run finds out of its servers before the trials: in the store, and told to people."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.store.database import open_store
from tests.cli.conftest import ROOT, CommandLine, left_behind

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 2
timeouts: {{request_s: 20, start_s: 30}}
backends: {{fake: {{kind: llama-server, binary: ./llama-server, context: 1024, env: {env}}}}}
models: {{m: {{gguf: model.gguf}}}}
chat_templates: {{t: {{file: t.jinja}}}}
tests:
  - name: hi
    messages: [{{role: user, content: hi}}]
    expect: [{{content: {{matches: .}}}}]
  - name: weather
    messages: [{{role: user, content: Rain?}}]
    tools: [{{type: function, function: {{name: look, parameters: {{type: object}}}}}}]
    expect: [{{content: {{matches: .}}}}]
"""
NO_PLACE = "the chat template t of model m has no place for tools"


@pytest.fixture
def asked(cli: CommandLine, fake_binary: Path) -> Path:
    """Return the file in which the fake server writes down its chats; a template is there too."""
    assert fake_binary.exists()
    (cli.folder / "t.jinja").write_text("{{ messages }}")
    return cli.folder / "asked.jsonl"


def experiment(asked: Path, mode: str = "", **env: str) -> str:
    """Return an experiment whose server has a mode and writes its chats down."""
    return EXPERIMENT.format(env=json.dumps({"FAKE_LOG": str(asked), "FAKE_MODE": mode, **env}))


def chats(asked: Path) -> list[dict[str, Any]]:
    """Return the bodies of the chats that the server got."""
    return [json.loads(line)["body"] for line in asked.read_text().splitlines()]


def notes(folder: Path) -> list[Mapping[str, Any]]:
    """Return the notes of each launch run, oldest first."""
    with open_store(folder / ".matrixbench" / "results.db", create=False) as store:
        return [launch.notes for launch in store.launches()]


def test_a_canary_is_sent_noted_and_silent_where_all_is_well(
    cli: CommandLine, write: Write, asked: Path
) -> None:
    """Three short requests before the trials; they are no trials themselves."""
    write(experiment(asked))
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran"] == 4
    assert [body["max_tokens"] for body in chats(asked)] == [8] * 3 + [512] * 4
    (found,) = notes(cli.folder)
    assert found["canary"] == {"seeds_differ": True, "repeatable": True}
    assert set(found["prompts"]) == {"hi", "weather"}
    assert "two seeds" not in done.stderr


def test_seeds_without_effect_are_a_lasting_line(
    cli: CommandLine, write: Write, asked: Path
) -> None:
    """A server that ignores the seed is told before its trials; the run goes on."""
    write(experiment(asked, "same_reply"))
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert "two seeds gave the same reply at temperature 1" in done.stderr
    assert notes(cli.folder)[0]["canary"]["seeds_differ"] is False


def test_a_canary_that_is_refused_is_no_failure(
    cli: CommandLine, write: Write, asked: Path
) -> None:
    """The reason is noted, and the trials have their own outcome."""
    write(experiment(asked, "parser_500"))
    done = cli("execute", "exp.yaml", "--json")
    assert json.loads(done.stdout)["outcomes"] == {"rejected": 4}
    assert "does not match" in notes(cli.folder)[0]["canary"]["refused"]


def test_a_server_that_dies_of_the_canary_is_started_again(
    cli: CommandLine, write: Write, asked: Path
) -> None:
    """Its death costs a restart and no trial."""
    write(experiment(asked, "die_once", FAKE_STATE=str(asked.with_name("state"))))
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"] == {"passed": 4}
    assert "refused" in notes(cli.folder)[0]["canary"]
    assert left_behind(cli.folder) == []


def test_the_canary_can_be_switched_off(cli: CommandLine, write: Write, asked: Path) -> None:
    """With `canary: false` only the trials are sent."""
    write(experiment(asked) + "canary: false\n")
    assert cli("execute", "exp.yaml").returncode == 0
    assert len(chats(asked)) == 4
    assert "canary" not in notes(cli.folder)[0]


def test_a_template_that_renders_anew_is_told(cli: CommandLine, write: Write, asked: Path) -> None:
    """The prompt's digest is held against that of the launch's last run under the same build."""
    write(experiment(asked))
    cli("execute", "exp.yaml")
    again = cli("execute", "exp.yaml", "--fresh")
    assert "another prompt" not in again.stderr
    first, second = notes(cli.folder)
    assert first["prompts"] == second["prompts"]
    with open_store(cli.folder / ".matrixbench" / "results.db", create=False) as store:
        number = store.launches()[-1].id
        with store.writer() as writer:
            known = second["prompts"]["weather"]
            writer.note(number, "prompts", {"weather": {**known, "rendered": "of another day"}})
    last = cli("execute", "exp.yaml", "--fresh")
    assert "weather: the template renders another prompt than on 2" in last.stderr
    assert "hi: the template" not in last.stderr
    assert set(notes(cli.folder)[-1]["prompts_changed"]) == {"weather"}


def test_tools_that_the_template_drops_are_not_asked(
    cli: CommandLine, write: Write, asked: Path
) -> None:
    """Their cells are not applicable: told, noted, not sent, and so in the plan from then on."""
    write(experiment(asked, "no_tools"))
    assert json.loads(cli("plan", "exp.yaml", "--json").stdout)["remaining"] == 4
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["ran"], summary["remaining"]) == (2, 0)
    assert f"not applicable: weather: {NO_PLACE}" in done.stderr
    assert not any("tools" in body for body in chats(asked))
    assert notes(cli.folder)[0]["not_applicable"] == {"weather": NO_PLACE}
    plan = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    assert (plan["trials"], plan["remaining"]) == (2, 0)
    (aside,) = plan["not_applicable"]
    assert (aside["coordinates"]["test"], aside["reason"]) == ("weather", NO_PLACE)
    more = cli("execute", "exp.yaml", "--resume", "--trials", "3", "--json")
    assert json.loads(more.stdout)["ran"] == 1
    assert json.loads(cli("plan", "exp.yaml", "--json").stdout)["not_applicable"] == [aside]
    assert cli("chart", "exp.yaml", "-o", "map.html").returncode == 0
    (cli.folder / "t.jinja").write_text("{{ messages }}{{ tools }}")
    assert json.loads(cli("plan", "exp.yaml", "--json").stdout)["not_applicable"] == []


def test_a_launch_whose_tests_all_have_tools_is_noted_and_sends_nothing(
    cli: CommandLine, write: Write, asked: Path
) -> None:
    """Not even a canary; the run ends well, and the next one has nothing to do."""
    write(experiment(asked, "no_tools"))
    done = cli("execute", "exp.yaml", "--where", "test = weather", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran"] == 0
    assert not asked.exists()
    assert notes(cli.folder) == [{"not_applicable": {"weather": NO_PLACE}}]


@pytest.mark.real
def test_smollm2_has_no_place_for_tools(
    cli: CommandLine, write: Write, smollm2_path: Path, model_cache: Path
) -> None:
    """The embedded server says so of the template that the model carries, and seeds differ."""
    assert smollm2_path.exists()
    hidden = {name: "" for name in ("LLAMA_SERVER_BIN_PATH",) if name in os.environ}
    real = replace(cli, env={"MATRIXBENCH_CACHE": str(model_cache), **hidden})
    quickstart = (ROOT / "experiments" / "quickstart.yaml").read_text()
    models = quickstart[quickstart.index("models:") : quickstart.index("chat_templates:")]
    tests = EXPERIMENT[EXPERIMENT.index("tests:") :].format()
    write(
        "name: real\ntrials: 1\nmax_tokens: 4\n"
        "backends: {s: {kind: llama-server, context: 512, slots: 1}}\n" + models + tests
    )
    done = real("execute", "exp.yaml", "--json", timeout_s=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran"] == 1
    (found,) = notes(real.folder)
    assert set(found["not_applicable"]) == {"weather"}
    assert set(found["prompts"]) == {"hi"}
    assert found["canary"]["seeds_differ"] is True
    plan = json.loads(real("plan", "exp.yaml", "--json").stdout)
    assert "has no place for tools" in plan["not_applicable"][0]["reason"]
