"""Trials that go on until a gate is decided, as users run them."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.execution.events import RoundsStarted
from matrixbench.gated import execute
from matrixbench.spec.load import load_experiment

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.execution.events import Event
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: {max: MAX, until: {gate: {baseline: {backend: old}}}}
sampling: {temperature: [1, 0]}
backends:
  old: {kind: scripted, replies: [Paris, Paris, Paris, Lyon]}
  new: {kind: scripted, replies: REPLIES}
tests:
  - {name: a, messages: [{role: user, content: A}], expect: [{content: {contains: Paris}}]}
  - {name: b, messages: [{role: user, content: B}], expect: [{content: {contains: Paris}}]}
  - {name: c, messages: [{role: user, content: C}], expect: [{content: {contains: Paris}}]}
"""
GOOD = "[Paris, Paris, Lyon, Paris]"
BAD = "[Lyon, x, Paris, y]"


def written(most: int = 300, replies: str = GOOD, **words: str) -> str:
    """Return the experiment, with words of it replaced."""
    text = EXPERIMENT.replace("MAX", str(most)).replace("REPLIES", replies)
    for old, new in words.items():
        text = text.replace(old, new)
    return text


def planned(cli: CommandLine, *words: str) -> dict[str, Any]:
    """Return the plan as data."""
    told: dict[str, Any] = json.loads(cli("plan", "exp.yaml", "--json", *words).stdout)
    return told


def counted(cli: CommandLine) -> set[tuple[str, int]]:
    """Return each backend with the number of trials that its sampled cells have."""
    rows = cli("export", "exp.yaml", "--format", "jsonl", "--where", "temperature=1").stdout
    return {(row["backend"], row["trials"]) for row in map(json.loads, rows.splitlines())}


def test_rounds_end_once_the_gate_is_decided(cli: CommandLine, write: Write) -> None:
    """All cells stop together, nothing more is planned, and `compare` needs no baseline."""
    write(written())
    before = planned(cli)
    assert (before["adaptive"], before["least"], before["trials"]) == (True, 108, 1812)
    done = cli("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert "rounds to 16 of at most 300" in done.stderr
    assert "the gate is decided: no worse" in done.stdout
    ((_, trials),) = {("", n) for _, n in counted(cli)}
    assert 16 <= trials < 300
    after = planned(cli)
    assert (after["remaining"], after["done"]) == (0, 6 * trials + 12)
    assert "the gate against backend=old is decided: no worse" in after["notes"][0]
    again = json.loads(cli("execute", "exp.yaml", "--resume", "--json").stdout)
    assert (again["ran"], again["decided"], again["remaining"]) == (0, "no worse", 0)
    gate = cli("compare", "exp.yaml", "--gate", "--json")
    assert gate.returncode == 0
    assert json.loads(gate.stdout)["candidates"][0]["gate"]["look"] == "any"
    text = cli("compare", "exp.yaml", "--gate").stdout
    assert "never asked" in text
    assert "at their worst" not in text
    assert cli("compare", "exp.yaml", "--gate", "--max-drop", "0.01").returncode == 9


def test_a_regression_ends_the_run_after_the_first_visit(cli: CommandLine, write: Write) -> None:
    """What is clear is not paid for."""
    write(written(replies=BAD))
    summary = json.loads(cli("execute", "exp.yaml", "--json").stdout)
    assert (summary["decided"], summary["ran"], summary["spared"]) == ("regression", 108, 1704)
    assert cli("compare", "exp.yaml", "--gate").returncode == 8


def test_without_a_decision_all_rounds_are_run_and_the_one_look_is_taken(
    cli: CommandLine, write: Write
) -> None:
    """`plan` says that the gate cannot end them; more rounds go on where these ended."""
    write(written(most=12))
    assert "the gate cannot end the trials early" in planned(cli)["notes"][0]
    summary = json.loads(cli("execute", "exp.yaml", "--json").stdout)
    assert (summary["decided"], summary["ran"], summary["remaining"]) == (None, 84, 0)
    assert summary["undecided"].startswith("after all 12 rounds: raise max")
    told = json.loads(cli("compare", "exp.yaml", "--gate", "--json").stdout)
    assert told["candidates"][0]["gate"]["look"] == "once"
    write(written())
    assert json.loads(cli("execute", "exp.yaml", "--resume", "--json").stdout)["decided"]


def test_what_errored_is_not_asked_again_in_the_same_run(cli: CommandLine, write: Write) -> None:
    """Each visit plans anew, and a second try would hide the fault; it counts at its worst."""
    write(written(most=60, replies="[Paris, {error: errored}, Paris, Paris, Paris]"))
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 7
    summary = json.loads(done.stdout)
    assert (summary["ran"], summary["outcomes"]["errored"]) == (372, 3 * 12 + 3)
    assert summary["decided"] is None
    assert cli("compare", "exp.yaml", "--gate").returncode == 9


def test_one_side_may_be_run_alone(cli: CommandLine, write: Write) -> None:
    """Then the gate looks at the other side's stored trials as well."""
    write(written())
    assert cli("execute", "exp.yaml", "--where", "backend=old").returncode == 0
    assert counted(cli) == {("old", 300), ("new", 0)}
    summary = json.loads(
        cli("execute", "exp.yaml", "--resume", "--where", "backend=new", "--json").stdout
    )
    assert summary["decided"] == "no worse"
    assert dict(counted(cli))["new"] < 300


def test_a_fixed_number_and_a_fresh_start_ask_for_what_they_say(
    cli: CommandLine, write: Write
) -> None:
    """`--trials` runs so many whatever the gate says; `--fresh` forgets what it said."""
    write(written(replies=BAD))
    cli("execute", "exp.yaml")
    assert (
        json.loads(cli("execute", "exp.yaml", "--resume", "--trials", "20", "--json").stdout)["ran"]
        == 6 * 4
    )
    assert json.loads(cli("execute", "exp.yaml", "--fresh", "--json").stdout)["ran"] == 108


def test_the_first_build_of_all_is_measured_for_the_next(cli: CommandLine, write: Write) -> None:
    """With nothing to compare with, all rounds are run."""
    write(written(most=4, **{"{backend: old}": "{build: previous}"}))
    summary = json.loads(cli("execute", "exp.yaml", "--json").stdout)
    assert (summary["ran"], summary["decided"]) == (36, None)


@pytest.mark.parametrize("baseline", ["{build: abc}", "{temperature: 1}"])
def test_a_gate_that_has_nothing_to_compare_says_so_before_anything_runs(
    cli: CommandLine, write: Write, baseline: str
) -> None:
    """At a fresh start too, and by the key of the file: no option was given."""
    text = written(most=4, **{"{backend: old}": baseline})
    write(text + "exclude: [{temperature: 0, backend: old}, {temperature: 1, backend: new}]\n")
    for mode in ("--fresh", "--resume"):
        done = cli("execute", "exp.yaml", mode)
        assert done.returncode == 2
        assert "trials.until.gate.baseline" in done.stderr
        assert "--baseline" not in done.stderr
    assert not sum(trials for _, trials in counted(cli))


def test_a_plan_spends_no_look(cli: CommandLine, write: Write) -> None:
    """It says nothing of a gate that is undecided, so that nothing was looked at."""
    write(written(most=300).replace("{max: 300, until: {gate: {baseline: {backend: old}}}}", "4"))
    cli("execute", "exp.yaml")
    write(written(most=4))
    assert planned(cli)["remaining"] == 0
    write(written(most=12))
    cli("execute", "exp.yaml", "--resume", "--trials", "12")
    told = json.loads(cli("compare", "exp.yaml", "--gate", "--json").stdout)
    assert told["candidates"][0]["gate"]["looked"] is None


def test_a_server_that_cannot_start_ends_the_run(cli: CommandLine, write: Write) -> None:
    """More rounds of the others would decide nothing; the exit code says that some is missing."""
    nobody = "{kind: endpoint, url: 'http://127.0.0.1:9/v1'}\nmodels: {m: {id: m}}"
    write(written().replace(f"{{kind: scripted, replies: {GOOD}}}", nobody))
    done = cli("execute", "exp.yaml", "--json")
    summary = json.loads(done.stdout)
    assert done.returncode == 7
    assert summary["ran"] == 16 * 3 + 6
    assert next(iter(summary["failed_launches"])).startswith("new")
    assert summary["remaining"] == 1812 - summary["ran"]
    assert "leave it out with --where" in summary["undecided"]


def test_an_interruption_keeps_what_was_measured(write: Write) -> None:
    """The run ends after what is in flight, and goes on where it stopped."""
    path = write(written())
    stop = asyncio.Event()

    def tell(event: Event) -> None:
        if isinstance(event, RoundsStarted) and event.rounds > 16:
            stop.set()

    experiment = load_experiment(path)
    summary = asyncio.run(execute(experiment, listener=tell, interrupted=stop))
    assert (summary.interrupted, summary.ran, summary.decided) == (True, 108, "")
    assert summary.remaining == 1812 - 108
    rest = asyncio.run(execute(experiment, mode="resume"))
    assert rest.decided == "no worse"


ONE_DRAW = """
name: demo
trials: {max: 200, until: {gate: {baseline: {backend: old}}}}
timeouts: {request_s: 20, start_s: 30}
sampling: {temperature: [1, 0]}
backends:
  old: &same {kind: llama-server, binary: ./llama-server, env: {FAKE_MODE: same_reply}}
  new: {<<: *same, replica: 2}
models: {m: {gguf: model.gguf}}
tests:
  - {name: hi, messages: [{role: user, content: hi}], expect: [{content: {matches: .}}]}
"""


def test_one_draw_a_side_ends_the_rounds(cli: CommandLine, write: Write, fake_binary: Path) -> None:
    """Servers that ignore seeds say the same at every round: none is run after the first visit."""
    assert fake_binary.exists()
    write(ONE_DRAW)
    summary = json.loads(cli("execute", "exp.yaml", "--json").stdout)
    assert summary["decided"] is None
    assert summary["undecided"].startswith("servers ignore seeds")
    assert 0 < summary["ran"] < 200
    assert summary["ran"] + summary["remaining"] == 404
    again = json.loads(cli("execute", "exp.yaml", "--resume", "--json").stdout)
    assert (again["ran"], again["remaining"]) == (0, summary["remaining"])
    assert again["undecided"] == summary["undecided"]
    assert cli("compare", "exp.yaml", "--gate").returncode == 9


@pytest.mark.parametrize("words", [("--gate",), ()])
def test_without_a_gate_in_the_file_a_baseline_is_asked_for(
    cli: CommandLine, write: Write, words: tuple[str, ...]
) -> None:
    """As before: exit 2, and an example."""
    write(written(most=2).replace("{max: 2, until: {gate: {baseline: {backend: old}}}}", "2"))
    cli("execute", "exp.yaml")
    done = cli("compare", "exp.yaml", *words)
    assert done.returncode == 2
    assert "write --baseline AXIS=VALUE" in done.stderr
