"""Conversations as users meet them: run, resumed, refused, shown; and what is on the wire."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import ROOT
from tests.fake_servers import fake_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

FAKE_OLLAMA = ROOT / "tests" / "fake_ollama.py"
TEST = """
tests:
  - name: weather
    messages: [{role: user, content: How warm is it in Paris?}]
    tools:
      - type: function
        function: {name: get_weather, parameters: {properties: {city: {type: string}}}}
        returns:
          - {when: {city: {contains: Paris}}, content: {celsius: 21}}
          - {when: {city: Atlantis}, error: unknown city}
    turns:
      - And tomorrow?
    expect: [{content: {contains: rain}}]
"""
SCRIPTED = """
name: demo
trials: 3
backends:
  fake:
    kind: scripted
    replies:
      - [{tool_calls: [{name: get_weather, arguments: {city: Paris}}]}, It is 21., It rains.]
      - [{tool_calls: [{name: get_weather, arguments: "{oops"}]}, Sorry., Sun.]
      - [{tool_calls: [{name: get_weather, arguments: {city: Atlantis}}]}, {error: rejected}]
"""
SERVED = """
name: demo
trials: 3
canary: false
timeouts: {{request_s: 20, start_s: 30}}
backends:
  fake: {{kind: llama-server, binary: ./llama-server, context: 1024, slots: 2, env: {env}}}
models: {{m: {{gguf: model.gguf}}}}
"""
CALLS = {
    "role": "assistant",
    "content": None,
    "reasoning_content": "I should look.",
    "tool_calls": [
        {
            "id": "abc",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
        },
        {
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"city": "Atlantis"}'},
        },
    ],
}
TURNS = [
    CALLS,
    {"role": "assistant", "content": "It is 21."},
    {"role": "assistant", "content": "It rains."},
]


def served(folder: Path, **env: str) -> str:
    """Return an experiment with the fake server, whose chats are noted in a file."""
    known = {"FAKE_TURNS": json.dumps(TURNS), "FAKE_LOG": str(folder / "chats"), **env}
    return SERVED.format(env=json.dumps(known)) + TEST


def bodies(folder: Path, name: str = "chats") -> list[dict[str, Any]]:
    """Return the bodies of all chats that a fake server was asked."""
    lines = (folder / name).read_text().splitlines()
    return [json.loads(line)["body"] for line in lines]


def show(cli: CommandLine, trial: int) -> dict[str, Any]:
    """Return what is shown of a trial."""
    done = cli("show", "exp.yaml", "--trial", str(trial), "--json")
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def test_a_conversation_is_run_shown_and_judged_again(cli: CommandLine, write: Write) -> None:
    """The transcript has every turn, also before a refusal, and new checks need no new run."""
    write(SCRIPTED + TEST)
    done = cli("execute", "exp.yaml", "--json")
    assert json.loads(done.stdout)["outcomes"] == {"passed": 1, "failed": 1, "rejected": 1}
    shown = cli("show", "exp.yaml", "--trial", "0").stdout
    parts = ["How warm", "calls get_weather", '{"celsius": 21}', "It is 21.", "And tomorrow?"]
    places = [shown.index(part) for part in [*parts, "It rains.", "verdict"]]
    assert places == sorted(places)
    assert "returns" not in shown
    broken = show(cli, 1)["earlier"]
    assert "not a JSON object: {oops" in broken[0]["then"][0]["content"]
    refused = show(cli, 2)
    assert (refused["outcome"], refused["kind"]) == ("rejected", "unparsed_output")
    assert refused["earlier"][0]["then"][0]["content"] == '{"error": "unknown city"}'
    assert "unknown city" in cli("show", "exp.yaml", "--trial", "2").stdout
    listed = cli("show", "exp.yaml", "--outcome", "rejected").stdout
    assert "2 turns" in listed
    assert 'get_weather({"city":"Atlantis"})' in listed
    write((SCRIPTED + TEST).replace("contains: rain", "contains: Sun"))
    assert json.loads(cli("status", "exp.yaml", "--json").stdout)["remaining"] == 0
    assert [show(cli, trial)["outcome"] for trial in (0, 1)] == ["failed", "passed"]


def test_what_follows_decides_what_has_been_done(cli: CommandLine, write: Write) -> None:
    """Another result or turn is another cell; the same script again has nothing left to run."""
    write(SCRIPTED + TEST)
    cli("execute", "exp.yaml")
    again = json.loads(cli("execute", "exp.yaml", "--resume", "--json").stdout)
    assert again["ran"] == 0
    write((SCRIPTED + TEST).replace("And tomorrow?", "And on Sunday?"))
    assert json.loads(cli("plan", "exp.yaml", "--json").stdout)["remaining"] == 3


def test_every_request_holds_what_was_said(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Parallel calls get their results in order; the thinking goes back until the next question."""
    assert fake_binary.exists()
    write(served(cli.folder))
    done = cli("execute", "exp.yaml", "--json")
    assert json.loads(done.stdout)["outcomes"] == {"passed": 3}, done.stderr
    asked = bodies(cli.folder)
    seed = min(body["seed"] for body in asked)
    assert Counter(body["seed"] for body in asked) == {seed: 3, seed + 1: 3, seed + 2: 3}
    assert "returns" not in json.dumps(asked)
    first, second, third = (body["messages"] for body in asked if body["seed"] == seed)
    assert [message["role"] for message in second] == ["user", "assistant", "tool", "tool"]
    ids = [call["id"] for call in second[1]["tool_calls"]]
    assert ids == ["abc", "call00001"]
    assert [message["tool_call_id"] for message in second[2:]] == ids
    assert [message["content"] for message in second[2:]] == [
        '{"celsius": 21}',
        '{"error": "unknown city"}',
    ]
    assert second[1]["reasoning_content"] == "I should look."
    assert "reasoning_content" not in third[1]
    assert third[-1] == {"role": "user", "content": "And tomorrow?"}
    assert second[: len(first)] == first
    row = show(cli, 0)
    assert row["completion_tokens"] == 1 + 3 + 2
    assert json.loads(row["request_line"].split("-d ")[1].strip("'"))["messages"] == first


def test_a_context_that_is_full_at_a_later_turn_is_rejected(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """It depends on what the model said, so every trial is asked; the turn before is kept."""
    assert fake_binary.exists()
    write(served(cli.folder, FAKE_MODE="context_400:1"))
    done = cli("execute", "exp.yaml", "--json")
    assert json.loads(done.stdout)["outcomes"] == {"rejected": 3}, done.stderr
    row = show(cli, 2)
    assert (row["kind"], row["by_request"], len(row["earlier"])) == ("context_overflow", False, 1)
    shown = cli("show", "exp.yaml", "--trial", "2").stdout
    assert "calls get_weather" in shown
    assert "context_overflow" in shown


def test_a_server_that_dies_between_two_turns_loses_no_trial(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """It comes back, and the conversation begins anew."""
    assert fake_binary.exists()
    state = cli.folder / "died"
    write(served(cli.folder, FAKE_MODE="die_at_turn:1", FAKE_STATE=str(state)))
    done = cli("execute", "exp.yaml", "--json")
    assert json.loads(done.stdout)["outcomes"] == {"passed": 3}, done.stderr
    assert state.exists()
    assert len(bodies(cli.folder)) > 9


OLLAMA = """
name: demo
trials: 1
canary: false
backends: {o: {kind: ollama, binary: ./ollama, context: 512, models_dir: models, env: ENV}}
models: {m: {gguf: model.gguf}}
chat_templates: {tools: {ollama_file: tools.txt}}
"""


def test_ollama_gets_a_conversation_in_its_own_words(cli: CommandLine, write: Write) -> None:
    """Arguments as objects, results by the tool's name, no null for a text; ids where none came."""
    binary = cli.folder / "ollama"
    binary.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE_OLLAMA}" "$@"\n')
    binary.chmod(0o755)
    (cli.folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    (cli.folder / "tools.txt").write_text("{{ .Tools }}{{ .Prompt }}")
    arguments = [{"city": "Paris"}, {"city": "Atlantis"}]
    calls = [{"function": {"name": "get_weather", "arguments": one}} for one in arguments]
    turns = [{"content": "", "thinking": "Hm.", "tool_calls": calls}, *TURNS[1:]]
    env = {"FAKE_TURNS": json.dumps(turns), "FAKE_LOG": str(cli.folder / "chats")}
    write(OLLAMA.replace("ENV", json.dumps({**env, "FAKE_MODE": "no_ids"})) + TEST)
    done = cli("execute", "exp.yaml", "--json")
    assert json.loads(done.stdout)["outcomes"] == {"passed": 1}, done.stderr
    asked = [json.loads(line) for line in (cli.folder / "chats").read_text().splitlines()]
    first, second, third = (body["messages"] for body in asked)
    assert second == [
        *first,
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [
                {"id": f"call0000{i}", "function": {"name": "get_weather", "arguments": one}}
                for i, one in enumerate(arguments)
            ],
        },
        {
            "role": "tool",
            "content": '{"celsius": 21}',
            "tool_call_id": "call00000",
            "tool_name": "get_weather",
        },
        {
            "role": "tool",
            "content": '{"error": "unknown city"}',
            "tool_call_id": "call00001",
            "tool_name": "get_weather",
        },
    ]
    assert third[-1] == {"role": "user", "content": "And tomorrow?"}
    assert {body["options"]["seed"] for body in asked} == {961_435_055}


FIELDS = """
name: demo
trials: 1
canary: false
models: {m: {gguf: model.gguf, id: m}}
request:
  tool_choice: [auto, required]
  parallel_tool_calls: [true]
  made_up: {value: [1, {two: 3}]}
tests:
  - name: t
    messages: [{role: user, content: hi}]
    tools: [{type: function, function: {name: f}, returns: [{content: x}]}]
    request:
      response_format: {type: json_schema, json_schema: {name: a, schema: {type: object}}}
      stop: ["\\n", END]
      max_tokens: 7
      chat_template_kwargs: {enable_thinking: false}
    turns: [more]
    expect: []
backends: {b: {
"""
SERVERS = {
    "llama-server": "kind: llama-server, binary: ./llama-server, context: 1024, env: ENV",
    "command": (
        "kind: command, argv: [./llama-server, --host, '{{ host }}', --port, '{{ port }}',"
        " -m, '{{ model }}'], env: ENV"
    ),
    "endpoint": "kind: endpoint, url: 'URL/v1'",
}


@pytest.mark.parametrize("kind", SERVERS)
def test_request_fields_reach_the_server(
    cli: CommandLine, write: Write, fake_binary: Path, kind: str
) -> None:
    """Those of the file's axes and those of a test, with whatever value, at every turn."""
    assert fake_binary.exists()
    env = {"FAKE_LOG": str(cli.folder / "chats")}
    with fake_server(**env) as url:
        backend = SERVERS[kind].replace("ENV", json.dumps(env)).replace("URL", url)
        write(f"{FIELDS}{backend}}}}}")
        done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    asked = bodies(cli.folder)
    assert Counter(body["tool_choice"] for body in asked) == {"auto": 2, "required": 2}
    for body in asked:
        assert body["parallel_tool_calls"] is True
        assert body["made_up"] == [1, {"two": 3}]
        assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
        assert body["stop"] == ["\n", "END"]
        assert body["max_tokens"] == 7
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        assert body["tools"] == [{"type": "function", "function": {"name": "f"}}]
