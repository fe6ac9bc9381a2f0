"""Reasoning and calls in the content, from the file to what is printed, exported and drawn."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = r"""
name: misplaced
trials: 2
backends:
  fake:
    kind: scripted
    replies:
      json: ["<think>Bob? No.</think>\n\n{\"name\": \"Alice\"}"]
      rome: ["Not Paris.\n</think>\n\nRome"]
      milan: ["<think>It could be Rome.</think>\n\nMilan"]
      weather: ["<tool_call>{\"name\": \"get_weather\", \"arguments\": {}}</tool_call>", Sunny.]
models:
  m: {SETTING}
tests:
  - name: json
    messages: [{role: user, content: "JSON?"}]
    expect: [{json: {paths: {name: Alice}}}]
  - name: rome
    messages: [{role: user, content: "Italy?"}]
    expect: [{content: {matches: ^Rome$}}]
  - name: milan
    messages: [{role: user, content: "Italy!"}]
    expect: [{content: {contains: Rome}}]
  - name: weather
    messages: [{role: user, content: "The weather?"}]
    tools: [{type: function, function: {name: get_weather, parameters: {type: object}}}]
    expect: [{tool_calls: [{name: get_weather}]}]
"""


@pytest.fixture
def run(cli: CommandLine, write: Write) -> CommandLine:
    """Return a command line in a folder where the experiment was run without the setting."""
    write(EXPERIMENT.replace("SETTING", ""))
    cli("execute", "exp.yaml")
    return cli


def rows(cli: CommandLine, *words: str) -> dict[str, dict[str, Any]]:
    """Return exported rows by test; of several trials the last one's."""
    lines = cli("export", "exp.yaml", *words).stdout.splitlines()
    return {row["test"]: row for row in map(json.loads, lines)}


def test_each_reply_is_noted_and_has_a_kind_of_its_own(run: CommandLine) -> None:
    """What a user would see passes as before; what fails for it says so."""
    found = rows(run)
    told = {
        test: (row["passed"], row["top_kind"], row["reasoning_in_content"], row["call_in_content"])
        for test, row in found.items()
    }
    assert told == {
        "json": (0, "reasoning_in_content", 2, 0),
        "rome": (0, "reasoning_in_content", 2, 0),
        "milan": (2, None, 2, 0),
        "weather": (0, found["weather"]["top_kind"], 0, 1),
    }
    trials = rows(run, "--trials")
    assert trials["milan"]["noted"] == "reasoning_in_content"
    shown = run("show", "exp.yaml", "--where", "test=weather").stdout
    assert "failed  call_in_content  trial 0" in shown
    assert "failed  no_tool_call  trial 1" in shown


def test_the_setting_judges_what_is_stored_again_for_free(run: CommandLine, write: Write) -> None:
    """No cell changes, nothing is asked, and the right parts are seen."""
    cells = {test: row["cell"] for test, row in rows(run).items()}
    write(EXPERIMENT.replace("SETTING", "reasoning_in_content: [think]"))
    again = run("execute", "exp.yaml", "--resume").stderr
    assert "checks changed: 8 stored replies judged again, 6 verdicts changed" in again
    assert "0 trials to run (8 done before)" in again
    found = rows(run)
    assert {test: row["cell"] for test, row in found.items()} == cells
    passed = {test: row["passed"] for test, row in found.items()}
    assert passed == {"json": 2, "rome": 2, "milan": 0, "weather": 0}
    write(EXPERIMENT.replace("SETTING", ""))
    assert {test: row["passed"] for test, row in rows(run).items()}["milan"] == 2


def test_transcripts_say_what_was_noticed(run: CommandLine, write: Write) -> None:
    """`show` from the store, `try` from a reply, both for people and for programs."""
    note = "! noted  reasoning in the content: <think>…</think>: 17 of 39 characters"
    words = ("show", "exp.yaml", "--where", "test=milan")
    assert "noted: reasoning in the content" in run(*words).stdout
    assert note in run(*words, "--trial", "0").stdout
    shown = json.loads(run(*words, "--trial", "0", "--json").stdout)
    assert [said["kind"] for said in shown["notes"]] == ["reasoning_in_content"]
    tried = run("try", "exp.yaml", "--test", "milan")
    assert note in tried.stdout
    assert "reasoning_in_content: [think] takes it apart" in " ".join(tried.stdout.split())
    write(EXPERIMENT.replace("SETTING", "reasoning_in_content: true"))
    (run.folder / "reply.txt").write_text("<think>Hm.</think>\nRome\n", encoding="utf-8")
    judged = run("try", "exp.yaml", "--test", "rome", "--reply", "reply.txt", "--json").stdout
    (trial,) = json.loads(judged)["trials"]
    assert (trial["outcome"], trial["notes"][0]["kind"]) == ("passed", "reasoning_in_content")


def test_a_square_with_reasoning_in_its_replies_has_a_mark(run: CommandLine) -> None:
    """The legend explains it, and the tooltip counts."""
    run("chart", "exp.yaml", "-o", "chart.json")
    drawn = (run.folder / "chart.json").read_text("utf-8")
    assert "reasoning left in the content" in drawn
    assert "2 of 2 trials" in drawn
    run("chart", "exp.yaml", "--where", "test=weather", "-o", "other.json")
    assert "reasoning left" not in (run.folder / "other.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("[thnk]", "perhaps you meant «think»; allowed: think, thinking, thought"),
        ("think", "write [think]"),
        ("[]", ""),
        ("false", ""),
    ],
)
def test_a_name_that_is_none_is_told_with_the_nearest(
    cli: CommandLine, write: Write, setting: str, told: str
) -> None:
    """Where it stands in the file."""
    write(EXPERIMENT.replace("SETTING", f"reasoning_in_content: {setting}"))
    found = cli("validate", "exp.yaml")
    assert (found.returncode == 0) is (not told)
    assert told in found.stderr
    assert not told or "exp.yaml:13:" in found.stderr


SIDES = r"""
name: sides
trials: 1
sampling: {temperature: [0]}
backends:
  left: {kind: scripted, replies: ["<think>Hm.</think>Rome"], reasoning_in_content: [think]}
  right: {kind: scripted, replies: ["<think>Hm.</think>Rome"]}
  other: {kind: scripted, replies: ["[THINK]Hm.[/THINK]Rome"], reasoning_in_content: true}
  whole: {kind: scripted, replies: ["[THINK]Hm.[/THINK]Rome"], reasoning_in_content: []}
tests:
  - name: rome
    messages: [{role: user, content: "Italy?"}]
    expect: [{content: Rome}]
  - name: same
    messages: [{role: user, content: "Italy!"}]
    expect: [{same_as: {backend: left}}]
"""


def test_backends_that_share_their_trials_have_verdicts_of_their_own(
    cli: CommandLine, write: Write
) -> None:
    """The setting is in no cell's id; replies are compared as each one's own setting sees them."""
    write(SIDES)
    cli("execute", "exp.yaml")
    found = [json.loads(line) for line in cli("export", "exp.yaml").stdout.splitlines()]
    cells = {(row["backend"], row["test"]): row["cell"] for row in found}
    assert cells["left", "rome"] == cells["right", "rome"]
    assert cells["other", "rome"] == cells["whole", "rome"]
    kinds = {(row["backend"], row["test"]): row["top_kind"] for row in found}
    assert kinds == {
        ("left", "rome"): None,
        ("right", "rome"): "reasoning_in_content",
        ("other", "rome"): None,
        ("whole", "rome"): "reasoning_in_content",
        ("left", "same"): None,
        ("right", "same"): "unlike_reference",
        ("other", "same"): None,
        ("whole", "same"): "unlike_reference",
    }
    tried = cli("try", "exp.yaml", "--test", "same", "--where", "backend=other", "--json").stdout
    assert [trial["outcome"] for trial in json.loads(tried)["trials"]] == ["passed", "passed"]
