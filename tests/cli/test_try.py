"""`try`: one trial on the screen, and nothing in a store."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from time import sleep
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.store.locks import ExperimentLock
from tests.cli.conftest import ROOT, left_behind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

SCRIPTED = r"""
name: demo
backends:
  a:
    kind: scripted
    replies:
      weather:
        - {tool_calls: [{name: get_weather, arguments: {city: "[red]Oslo[/red]"}}]}
      broken: [{error: errored}]
      "*": ["\e]0;owned\e\\ \u202ehi", Paris]
  b: {kind: scripted, replies: [Paris]}
sampling: {temperature: [0.5, 1]}
tests:
  - name: weather
    messages: [{role: user, content: "Weather in Paris?"}]
    tools: [{type: function, function: {name: get_weather, parameters: {type: object}}}]
    expect: [{tool_calls: [{name: get_weather, arguments: {city: Paris}}]}, {content: {equals: ~}}]
  - name: capital-of-{{ country }}
    parameters: {country: [France, Japan]}
    messages: [{role: user, content: "The capital of {{ country }}?"}]
    expect: [{content: Paris}]
  - {name: broken, messages: [{role: user, content: x}], expect: [{content: a}]}
  - name: long
    messages: [{role: user, content: x}]
    needs: {context: 9000}
    expect: [{content: a}]
"""
SERVED = """
name: served
canary: false
backends:
  s: {{kind: llama-server, binary: ./llama-server, context: 512, slots: 1,
      env: {{FAKE_MODE: "{mode}", FAKE_LOG: "{log}"}}}}
models: {{m: {{gguf: model.gguf}}}}
tests:
  - name: weather
    messages: [{{role: system, content: "Be brief."}}, {{role: user, content: "Weather in Paris?"}}]
    tools: [{{type: function, function: {{name: get_weather, parameters: {{type: object}}}}}}]
    expect: [{{content: {{matches: .}}}}]
  - name: talk
    messages: [{{role: user, content: "Hello."}}]
    turns: ["And now?"]
    expect: [{{content: {{matches: .}}}}]
  - {{name: big, messages: [{{role: user, content: x}}], needs: {{context: 9000}}, expect: []}}
"""


@pytest.fixture
def served(cli: CommandLine, write: Write, fake_binary: Path, tmp_path: Path) -> CommandLine:
    """Return the command line beside an experiment with the fake server, and a temporary folder."""
    assert fake_binary.exists()
    (tmp_path / "tmp").mkdir()
    write(SERVED.format(mode="", log=tmp_path / "asked"))
    return replace(cli, env={"TMPDIR": str(tmp_path / "tmp")})


def in_mode(cli: CommandLine, write: Write, mode: str) -> CommandLine:
    """Let the fake server run in a mode of fault."""
    write(SERVED.format(mode=mode, log=cli.folder / "asked"))
    return cli


def temporary(cli: CommandLine) -> list[Path]:
    """Return what a `try` left in the folder for temporary files."""
    return list((cli.folder / "tmp").iterdir())


def test_one_trial_is_shown_whole_and_stored_nowhere(cli: CommandLine, write: Write) -> None:
    """Messages, tools, the reply and each check; a model that fails its checks is a result."""
    write(SCRIPTED)
    done = cli("try", "exp.yaml", "--test", "weather")
    assert done.returncode == 0, done.stderr
    for part in (
        "backend=a  model=default  chat_template=native  temperature=0.5  test=weather",
        "Weather in Paris?",
        "tool get_weather",
        "calls get_weather",
        '"city": "[red]Oslo[/red]"',
        "bad_arguments",
        "✗ failed  tool_calls",
    ):
        assert part in done.stdout
    assert done.stdout.index("calls get_weather") < done.stdout.index("verdict")
    assert "3 more fit, choose with --where (backend: a, b; temperature: 0.5, 1)" in done.stderr
    assert sorted(path.name for path in cli.folder.iterdir()) == ["exp.yaml"]


def test_a_glob_tries_each_test_that_it_matches(cli: CommandLine, write: Write) -> None:
    """One trial of the first cell of each; the seed says which trial it is."""
    write(SCRIPTED)
    done = cli("try", "exp.yaml", "--test", "capital*", "--seed", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["trials"]
    assert [one["coordinates"]["test"] for one in told] == ["capital-of-France", "capital-of-Japan"]
    assert {one["content"] for one in told} == {"Paris"}
    assert {one["seed"] for one in told} == {2}
    assert [one["verdicts"][0]["passed"] for one in told] == [True, True]
    assert told[0]["request"]["messages"][0]["content"] == "The capital of France?"
    chosen = cli("try", "exp.yaml", "--test", "capital*", "--where", "backend=b and temperature=1")
    assert chosen.stdout.count("backend=b") == chosen.stdout.count("temperature=1  test=") == 2
    assert "2 trials: 2 passed" in chosen.stderr


def test_what_a_model_wrote_cannot_control_the_terminal(cli: CommandLine, write: Write) -> None:
    """Controls and marks that turn a line around are shown as escapes, in JSON as well."""
    write(SCRIPTED)
    for words in ((), ("--json",)):
        done = cli("try", "exp.yaml", "--test", "*France", *words)
        assert done.returncode == 0
        assert not set(done.stdout) & {"\x1b", "\u202e"}
        assert "\\u202ehi" in done.stdout


def test_exit_codes_say_what_was_not_measured(cli: CommandLine, write: Write) -> None:
    """7 for a trial that errored; 2 for a test that is not there; 3 where nothing is selected."""
    write(SCRIPTED)
    errored = cli("try", "exp.yaml", "--test", "broken")
    assert (errored.returncode, "errored  server_error" in errored.stdout) == (7, True)
    wrong = cli("try", "exp.yaml", "--test", "wether")
    assert wrong.returncode == 2
    assert "there is no test «wether»" in wrong.stderr
    assert "perhaps you meant «weather»" in wrong.stderr
    unnamed = cli("try", "exp.yaml")
    assert (unnamed.returncode, "capital-of-Japan" in unnamed.stderr) == (2, True)
    nothing = cli("try", "exp.yaml", "--test", "weather", "--where", "temperature>3")
    assert (nothing.returncode, "no cell is selected" in nothing.stderr) == (3, True)


def test_the_server_tells_prompt_and_raw_output(served: CommandLine) -> None:
    """It is asked to be verbose; readiness is said; nothing of it or of its key is left."""
    done = served("try", "exp.yaml", "--test", "weather")
    assert done.returncode == 0, done.stderr
    assert "s · m · native: ready after" in done.stderr
    assert "rendered prompt" in done.stdout
    assert "  <|user|>Weather in Paris?" in done.stdout
    assert "  <|raw|>" in done.stdout
    assert done.stdout.index("<|system|>Be brief.") < done.stdout.index("raw output")
    asked = json.loads((served.folder / "asked").read_text())["body"]
    assert asked["verbose"] is True
    assert f" {asked['seed']}" in done.stdout
    assert "verbose" not in done.stdout
    assert temporary(served) == []
    assert not (served.folder / ".matrixbench").exists()
    assert left_behind(served.folder) == []


def test_a_conversation_is_shown_turn_by_turn(served: CommandLine) -> None:
    """Each with its prompt, of which only what is new is printed again; JSON has them whole."""
    done = served("try", "exp.yaml", "--test", "talk")
    assert done.returncode == 0, done.stderr
    parts = (
        "Hello.",
        "rendered prompt\n",
        "raw output",
        "reply 1",
        "user\n  And now?",
        "rendered prompt: the one before, and then",
        "reply 2",
        "turns                2; the figures below are of all",
        "verdict",
    )
    places = [done.stdout.index(part) for part in parts]
    assert places == sorted(places)
    assert done.stdout.count("<|user|>Hello.") == 1
    one = told(served, "try", "exp.yaml", "--test", "talk", "--json")
    (turn,) = one["earlier"]
    assert one["rendered_prompt"].startswith(turn["rendered_prompt"])
    assert one["rendered_prompt"].endswith("<|user|>And now?")
    assert turn["then"] == [{"role": "user", "content": "And now?"}]
    saved = json.dumps({"trials": [one]})
    (served.folder / "talk.json").write_text(saved)
    again = told(served, "try", "exp.yaml", "--test", "talk", "--json", "--reply", "talk.json")
    assert [turn["content"] for turn in again["earlier"]] == [turn["content"]]


def test_a_refusal_shows_the_prompt_too(served: CommandLine, write: Write) -> None:
    """What the parser refuses was asked with a prompt that the server renders."""
    done = in_mode(served, write, "parser_500")("try", "exp.yaml", "--test", "weather")
    assert done.returncode == 0, done.stderr
    assert "rejected  unparsed_output" in done.stdout
    assert "  <|user|>Weather in Paris?" in done.stdout


def test_what_does_not_apply_says_why(served: CommandLine, write: Write) -> None:
    """Known beforehand, or found out when the server is up: exit 3, with the way out."""
    early = served("try", "exp.yaml", "--test", "big")
    assert early.returncode == 3
    assert "not applicable: big:" in early.stderr
    both = served("try", "exp.yaml", "--test", "*")
    assert (both.returncode, "not applicable: big:" in both.stderr) == (0, True)
    late = in_mode(served, write, "no_tools")("try", "exp.yaml", "--test", "weather")
    assert late.returncode == 3
    assert "has no place for tools" in late.stderr
    assert "give the model a chat template that has one" in late.stderr
    assert left_behind(served.folder) == []


def test_a_server_that_fails_shows_its_log(served: CommandLine, write: Write) -> None:
    """Exit 4 where it never answers, 7 where it dies under the trial; the log is kept for both."""
    never = in_mode(served, write, "exit_at_start:3")("try", "exp.yaml", "--test", "weather")
    assert never.returncode == 4
    assert "died at start" in never.stderr
    served = in_mode(served, write, "die_on_seed:1")
    dies = served("try", "exp.yaml", "--test", "weather", "--seed", "1")
    assert dies.returncode == 7, dies.stderr
    assert "errored  no_connection" in dies.stdout
    assert "GGML_ASSERT failed" in dies.stdout
    logs = [path for path in (served.folder / "tmp").rglob("*.log") if path.is_file()]
    assert len(logs) == len(temporary(served)) == 2
    assert any(str(log) in dies.stdout.replace("\n", "") for log in logs)
    assert left_behind(served.folder) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_no_server_is_left_after_an_interruption(
    served: CommandLine, write: Write, number: int, code: int
) -> None:
    """Ctrl-C ends it at once, and even a kill takes the server along."""
    running = in_mode(served, write, "hang").start("try", "exp.yaml", "--test", "weather")
    assert running.stderr is not None
    assert any("ready after" in line for line in running.stderr)
    os.kill(running.pid, number)
    running.communicate(timeout=60)
    assert running.returncode == code
    while left_behind(served.folder):  # a guardian ends it after a kill; the timeout bounds this
        sleep(0.05)


def test_a_run_that_goes_on_is_not_disturbed(cli: CommandLine, write: Write) -> None:
    """The experiment's lock may be held: none is asked for."""
    write(SCRIPTED)
    with ExperimentLock(cli.folder / ".matrixbench" / "results.db", "demo"):
        assert cli("try", "exp.yaml", "--test", "weather").returncode == 0


def test_a_saved_reply_is_judged_without_a_server(served: CommandLine) -> None:
    """From a file or from standard input; what is no reply is said with what could be."""
    (served.folder / "reply.txt").write_text("Sunny.\n")
    done = served("try", "exp.yaml", "--test", "weather", "--reply", "reply.txt")
    assert (done.returncode, done.stderr) == (0, "")
    assert "✓ passed  content" in done.stdout
    assert "backend=" not in done.stdout
    anywhere = served("try", "exp.yaml", "--test", "big", "--reply", "reply.txt")
    assert anywhere.returncode == 0  # no server is needed that it applies to
    (served.folder / "odd.json").write_text('{"a": 1}')
    odd = served("try", "exp.yaml", "--test", "weather", "--reply", "odd.json")
    assert odd.returncode == 2
    assert "odd.json: this is no reply: JSON of another shape" in odd.stderr
    assert "a whole answer of a chat API" in odd.stderr
    missing = served("try", "exp.yaml", "--test", "weather", "--reply", "none.json")
    assert (missing.returncode, "No such file" in missing.stderr) == (2, True)
    several = served("try", "exp.yaml", "--test", "*", "--reply", "reply.txt")
    assert (several.returncode, "3 are meant" in several.stderr) == (2, True)
    seed = served("try", "exp.yaml", "--test", "big", "--reply", "reply.txt", "--seed", "3")
    assert (seed.returncode, "--reply sends nothing" in seed.stderr) == (2, True)


def test_what_try_prints_can_be_judged_again(cli: CommandLine, write: Write) -> None:
    """Save it, edit the test, and look what its checks say now: no other reply is needed."""
    write(SCRIPTED)
    first = cli("try", "exp.yaml", "--test", "weather", "--json")
    (cli.folder / "reply.json").write_text(first.stdout)
    write(SCRIPTED.replace("arguments: {city: Paris}", "arguments: {city: {contains: Oslo}}"))
    again = told(cli, "try", "exp.yaml", "--test", "weather", "--json", "--reply", "reply.json")
    assert (again["verdicts"][0]["check"], again["verdicts"][0]["passed"]) == ("tool_calls", True)
    assert (again["cell"], again["latency_s"]) == (None, None)


def test_what_a_reply_is_compared_with_is_asked_first(cli: CommandLine, write: Write) -> None:
    """Also where it is not selected, with the same seed; a reference that fails is said."""
    write(
        "name: same\nbackends:\n"
        "  a: {kind: scripted, replies: [Paris, London, {error: errored}]}\n"
        "  b: {kind: scripted, replies: [Paris, Lyon, Nice]}\n"
        "tests: [{name: t, messages: [{role: user, content: hi}],"
        " expect: [{same_as: {backend: a}}]}]\n"
    )
    found = []
    for seed in (1, 2, 3):
        done = cli("try", "exp.yaml", "--where", "backend=b", "--seed", f"{seed}", "--json")
        assert "asked as well: same_as compares with its reply" in done.stderr
        first, second = json.loads(done.stdout)["trials"]
        assert (first["coordinates"]["backend"], second["coordinates"]["backend"]) == ("a", "b")
        found.append((done.returncode, second["outcome"], second["kind"]))
    assert found == [
        (0, "passed", None),
        (0, "failed", "unlike_reference"),
        (7, "errored", "no_reference"),
    ]
    alone = json.loads(cli("try", "exp.yaml", "--where", "backend=a", "--json").stdout)["trials"]
    assert [one["outcome"] for one in alone] == ["passed"]


def told(cli: CommandLine, *words: str) -> dict[str, Any]:
    """Return the one trial that a command tells of."""
    (one,) = json.loads(cli(*words).stdout)["trials"]
    return dict(one)


@pytest.mark.real
def test_the_embedded_server_shows_what_it_rendered(
    cli: CommandLine, write: Write, smollm2_path: Path, model_cache: Path
) -> None:
    """The model's own template adds a system prompt, which nobody wrote into the test."""
    package = (ROOT / "experiments" / "quickstart.yaml").read_text()
    models = package[package.index("models:") : package.index("chat_templates:")]
    write(
        "name: real\nmax_tokens: 8\nbackends: {s: {kind: llama-server, context: 512}}\n"
        f"{models}"
        "sampling: {temperature: 0}\n"
        "tests: [{name: t, messages: [{role: user, content: What is 2 + 2?}],"
        " expect: [{content: {matches: .}}]}]\n"
    )
    assert smollm2_path.exists()
    real = replace(cli, env={"MATRIXBENCH_CACHE": str(model_cache)})
    one = told(real, "try", "exp.yaml", "--json")
    assert one["rendered_prompt"].startswith("<|im_start|>system\nYou are a helpful AI assistant")
    assert "<|im_start|>user\nWhat is 2 + 2?<|im_end|>" in one["rendered_prompt"]
    assert one["raw_output"] == one["content"]
    assert one["outcome"] == "passed"
    assert left_behind(cli.folder) == []
