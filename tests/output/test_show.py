"""`show`: replies, transcripts, and the lines that reproduce a trial."""

from __future__ import annotations

import json
import shlex
import subprocess
import urllib.request
from typing import TYPE_CHECKING

import pytest

from tests.fake_servers import fake_server
from tests.output.conftest import EXPERIMENT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

ONE_CELL = ("--where", "test=capital and temperature=1")

TOOLS = """
name: tools
trials: 2
backends:
  fake:
    kind: scripted
    replies:
      - tool_calls: [{name: get_weather, arguments: {city: Paris}}]
      - content: "no \\u001b[31mcall\\u202e"
sampling: {temperature: [1]}
tests:
  - name: weather
    messages:
      - {role: system, content: You have tools.}
      - {role: user, content: "The weather in Paris?"}
    tools:
      - {type: function, function: {name: get_weather, parameters: {type: object}}}
    expect:
      - tool_calls: [{name: get_weather, arguments: {city: Paris}}]
"""

LLAMA_SERVER = """
name: served
trials: 2
backends:
  fake: {kind: llama-server, binary: ./llama-server, context: 1024, env: {A_FLAG: "1 2"}}
models: {m: {gguf: model.gguf}}
sampling: {temperature: [1]}
tests:
  - name: hi
    messages: [{role: user, content: "don't «hi» $HOME"}]
    expect: [{content: {matches: .}}]
"""


def test_equal_replies_come_once_with_their_count(demo: CommandLine) -> None:
    """Each different reply has its count, verdict, kind, reason and trials; it fits 100 columns."""
    done = demo("show", "exp.yaml", *ONE_CELL, "--distinct")
    assert done.returncode == 0, done.stderr
    assert "4 trials, 2 distinct replies: 3 passed, 1 failed" in done.stdout
    assert "3×  passed  trials 0, 2-3" in done.stdout
    assert "failed  wrong_content  trial 1" in done.stdout
    assert 'expected text with "Paris", found "London"' in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_without_distinct_every_trial_has_its_line(demo: CommandLine) -> None:
    """All trials of all cells are listed in order, and --limit says how many it leaves out."""
    told = json.loads(demo("show", "exp.yaml", "--json").stdout)
    assert [len(cell["replies"]) for cell in told["cells"]] == [4, 4, 4, 4]
    assert [reply["trials"] for reply in told["cells"][0]["replies"]] == [[0], [1], [2], [3]]
    limited = demo("show", "exp.yaml", *ONE_CELL, "--limit", "1").stdout
    assert "and 3 more" in limited


def test_identical_replies_are_said_to_be_one(cli: CommandLine, write: Write) -> None:
    """Ten repeats of one answer are no ten answers."""
    write(EXPERIMENT.replace("[Paris, London, Paris, Paris]", "[Paris]").replace(": 4", ": 10"))
    cli("execute", "exp.yaml")
    assert "10 trials, 1 distinct reply: 10 passed" in cli("show", "exp.yaml", *ONE_CELL).stdout


def test_only_some_outcomes(demo: CommandLine) -> None:
    """--outcome leaves the others out; cells without one are not shown."""
    told = json.loads(
        demo("show", "exp.yaml", "--outcome", "passed", "--distinct", "--json").stdout
    )
    assert [cell["coordinates"]["test"] for cell in told["cells"]] == ["capital"] * 2
    assert [cell["replies"][0]["count"] for cell in told["cells"]] == [3, 3]
    assert told["cells"][0]["replies"][0]["verdicts"] == [
        {"check": "content", "passed": True, "kind": None, "reason": None, "score": None}
    ]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--outcome", "sad"), 2, "outcomes are passed, failed, rejected, errored"),
        (("--outcome", "rejected"), 3, "no rejected trial of demo is selected"),
        (("--where", "tast=capital"), 2, "perhaps you meant «test»"),
        (("--where", "test=nothing"), 3, "no cell is selected"),
        (("--trial", "0"), 2, "they differ in temperature, test"),
        ((*ONE_CELL, "--trial", "9"), 3, "its trials: 0, 1, 2, 3"),
        (("--trial", "0", "--launch"), 2, "exclude each other"),
    ],
)
def test_mistakes_have_their_exit_code(
    demo: CommandLine, words: tuple[str, ...], code: int, message: str
) -> None:
    """A user's mistake is said in a line or two, with the way out."""
    done = demo("show", "exp.yaml", *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_run_yet(cli: CommandLine, write: Write) -> None:
    """Without a store there is nothing to show, and the next step is named."""
    write(EXPERIMENT)
    done = cli("show", "exp.yaml")
    assert done.returncode == 3
    assert "first run: matrixbench execute exp.yaml" in done.stderr


@pytest.mark.parametrize("more", [(), ("--trial", "0")])
def test_what_does_not_apply_is_told_as_such(
    cli: CommandLine, write: Write, more: tuple[str, ...]
) -> None:
    """Where nothing but cells that cannot be measured is selected, the reason is said."""
    templates = "chat_templates: {native: {}, other: {name: chatml}}\n"
    backends = "backends: {hosted: {kind: endpoint, url: 'http://127.0.0.1:1/v1'}, "
    text = EXPERIMENT.replace("backends: {", templates + backends)
    assert cli("execute", str(write(text)), "--where", "backend!=hosted").returncode == 0
    done = cli("show", "exp.yaml", "--where", "backend=hosted and chat_template=other", *more)
    assert (done.returncode, done.stdout) == (3, "")
    assert "is selected: what is selected is not applicable (" in done.stderr


def test_one_trial_whole(cli: CommandLine, write: Write) -> None:
    """Messages, tools, fields, the reply's calls and each check's verdict are there."""
    write(TOOLS)
    cli("execute", "exp.yaml")
    said = cli("show", "exp.yaml", "--trial", "0").stdout
    for text in (
        "0, seed 875782657, generation 0",
        "You have tools.",
        "The weather in Paris?",
        "tool get_weather",
        "calls get_weather",
        '"city": "Paris"',
        "✓ passed  tool_calls",
        "temperature  1",
    ):
        assert text in said, said
    told = json.loads(cli("show", "exp.yaml", "--trial", "0", "--json").stdout)
    assert told["request"]["messages"][1]["content"] == "The weather in Paris?"
    assert told["tool_calls"][0]["name"] == "get_weather"
    assert (told["outcome"], told["server"], told["request_line"]) == ("passed", None, None)


def test_nothing_that_a_model_wrote_drives_the_terminal(cli: CommandLine, write: Write) -> None:
    """Escape sequences and direction overrides are shown as escapes."""
    write(TOOLS)
    cli("execute", "exp.yaml")
    for words in (("--trial", "1"), (), ("--distinct",)):
        said = cli("show", "exp.yaml", *words).stdout
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert "u202e" in said


def test_a_changed_check_is_judged_before_it_is_shown(demo: CommandLine, write: Write) -> None:
    """What is shown are the verdicts of the checks that the file has now."""
    write(EXPERIMENT.replace("contains: Berlin", "contains: London"))
    done = demo("show", "exp.yaml", "--where", "test=city", "--outcome", "passed", "--json")
    assert "8 stored replies judged by the present checks, 2 changed" in done.stderr
    assert [cell["outcomes"] for cell in json.loads(done.stdout)["cells"]] == [{"passed": 1}] * 2


def test_two_lines_reproduce_a_trial(cli: CommandLine, write: Write, fake_binary: Path) -> None:
    """The server's line starts it again, and the request's line sends the same bytes."""
    assert fake_binary.exists()
    write(LLAMA_SERVER)
    assert cli("execute", "exp.yaml").returncode == 0
    *_, server, request = cli("show", "exp.yaml", "--trial", "1").stdout.splitlines()
    assert server.startswith("A_FLAG='1 2' ")
    assert "api-key" not in server
    words = shlex.split(request)
    body = json.loads(words[-1])
    assert words[:2] == ["curl", "-sS"]
    assert body["messages"] == [{"role": "user", "content": "don't «hi» $HOME"}]
    assert (body["seed"], body["temperature"], body["model"]) == (1_080_056_352, 1, "m")
    command = shlex.split(server)[1:]
    with subprocess.Popen(command, cwd=cli.folder, stderr=subprocess.PIPE, text=True) as running:
        try:
            assert running.stderr is not None
            next(line for line in running.stderr if "listening" in line)
            asked = urllib.request.Request(
                words[2], words[-1].encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(asked, timeout=30) as answer:
                assert json.load(answer)["choices"][0]["message"]["role"] == "assistant"
        finally:
            running.kill()


def test_an_endpoints_key_is_a_variable(cli: CommandLine, write: Write) -> None:
    """The request's line names the key's variable; the key is nowhere in what is printed."""
    key = "sk-very-secret-0123456789"
    keys = cli.folder / "keys"
    keys.write_text(key)
    cli.env["FAR_KEY"] = key
    with fake_server(flags=("--api-key-file", str(keys))) as url:
        write(
            EXPERIMENT.replace(
                "{fake: {kind: scripted, replies: [Paris, London, Paris, Paris]}}",
                f"{{far: {{kind: endpoint, url: '{url}/v1', api_key_env: FAR_KEY}}}}\n"
                "models: {m: {id: fake}}",
            )
        )
        assert cli("execute", "exp.yaml").returncode == 0
    done = [
        cli("show", "exp.yaml", *ONE_CELL, "--trial", "0"),
        cli("show", "exp.yaml", "--launch"),
        cli("show", "exp.yaml", "--json"),
        cli("export", "exp.yaml", "--trials"),
        cli("status", "exp.yaml"),
    ]
    request = done[0].stdout.splitlines()[-1]
    assert f"curl -sS {url}/v1/chat/completions" in request
    assert '-H "Authorization: Bearer $FAR_KEY"' in request
    assert json.loads(shlex.split(request)[-1])["model"] == "fake"
    assert [said.returncode for said in done] == [0] * 5
    assert not any(key in said.stdout + said.stderr for said in done)


def test_launches_say_what_ran(cli: CommandLine, write: Write, fake_binary: Path) -> None:
    """Build, command line, effective configuration, host, versions, log and times are printed."""
    assert fake_binary.exists()
    write(LLAMA_SERVER)
    cli("execute", "exp.yaml")
    said = cli("show", "exp.yaml", "--launch").stdout
    for text in (
        "launch 1: fake",
        "build",
        "version",
        "host.cpus",
        "versions.python",
        "--ctx-size",
    ):
        assert text in said
    (launch,) = json.loads(cli("show", "exp.yaml", "--launch", "--json").stdout)["launches"]
    assert launch["trials"] == 2
    assert launch["build"]["kind"] == "llama-server"
    assert launch["effective"]["n_ctx"] == 1024
    assert launch["log"].endswith(".log")
    assert launch["ended_at"] >= launch["started_at"]
    assert (launch["error"], launch["imported"]) == (None, False)


def test_the_name_is_enough(demo: CommandLine) -> None:
    """An experiment in the store can be shown without its file."""
    by_file = json.loads(demo("show", "exp.yaml", *ONE_CELL, "--json").stdout)
    (demo.folder / "exp.yaml").unlink()
    assert json.loads(demo("show", "demo", *ONE_CELL, "--json").stdout) == by_file
    unknown = demo("show", "dome")
    assert unknown.returncode == 2
    assert "the store knows demo" in unknown.stderr
