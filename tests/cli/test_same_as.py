"""Replies compared with another cell's, whichever of the two runs first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: same
trials: 3
backends:
  baseline: {kind: scripted, replies: [Paris, London, Rome]}
  candidate: {kind: scripted, replies: [Paris, LONDON, Rome]}
sampling: {temperature: [0, 1]}
tests:
  - name: capital
    messages: [{role: user, content: "A capital?"}]
    expect: [same_as: {backend: baseline}]
  - name: plain
    messages: [{role: user, content: "A city?"}]
    expect: [content: {type: string}]
"""


@pytest.fixture
def folder(cli: CommandLine, write: Write) -> CommandLine:
    """Return the command line beside an experiment that compares two backends."""
    write(EXPERIMENT)
    return cli


def outcomes(cli: CommandLine, *words: str) -> dict[str, list[str]]:
    """Return the outcomes of the comparing test by backend and temperature, in trials' order."""
    done = cli("export", "exp.yaml", "--trials", "--where", "test=capital", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    for row in sorted(rows, key=lambda row: row["trial"]):
        found.setdefault(f"{row['backend']} {row['temperature']}", []).append(row["outcome"])
    return found


SETTLED = {
    "baseline 0": ["passed"] * 2,
    "baseline 1": ["passed"] * 3,
    "candidate 0": ["passed", "failed"],
    "candidate 1": ["passed", "failed", "passed"],
}


def test_one_run_compares_at_its_end(folder: CommandLine) -> None:
    """What the run says of its trials is what came of the comparison."""
    done = folder("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert "10 replies compared with those of other cells" in done.stderr
    assert "20 trials in" in done.stdout
    assert "18 passed" in done.stdout
    assert "2 failed" in done.stdout
    assert "errored" not in done.stdout
    assert outcomes(folder) == SETTLED


@pytest.mark.parametrize("first", ["baseline", "candidate"])
def test_the_order_of_runs_makes_no_difference(folder: CommandLine, first: str) -> None:
    """A reply without its reference is errored until that is there, and never asked for again."""
    done = folder("execute", "exp.yaml", "--where", f"backend={first}")
    waiting = first == "candidate"
    assert done.returncode == (7 if waiting else 0), done.stderr
    if waiting:
        assert "5 have none yet" in done.stderr
        assert "no_reference" in done.stdout
        found = outcomes(folder, "--where", "backend=candidate")
        assert found == {"candidate 0": ["errored"] * 2, "candidate 1": ["errored"] * 3}
        status = folder("status", "exp.yaml").stdout
        assert "5  no_reference, for example: backend=baseline has no reply" in status
    done = folder("execute", "exp.yaml", "--resume")
    assert done.returncode == 0, done.stderr
    assert "10 trials to run (10 done before)" in done.stderr
    assert outcomes(folder) == SETTLED
    done = folder("execute", "exp.yaml", "--resume")
    assert "0 trials to run (20 done before)" in done.stderr
    assert "judged again" not in done.stderr
    assert outcomes(folder) == SETTLED


def test_a_reference_that_is_left_out_by_where_still_serves(folder: CommandLine) -> None:
    """A selection says what is run or shown, not what there is."""
    assert folder("execute", "exp.yaml", "--where", "backend=baseline").returncode == 0
    done = folder("execute", "exp.yaml", "--resume", "--where", "backend=candidate")
    assert done.returncode == 0, done.stderr
    assert outcomes(folder) == SETTLED
    shown = folder("show", "exp.yaml", "--where", "backend=candidate and test=capital")
    assert "unlike backend=baseline: content at character 2: expected" in shown.stdout


def test_a_reference_that_has_changed_judges_again(folder: CommandLine, write: Write) -> None:
    """Its fresh replies count from then on, and the old verdicts stay as history."""
    assert folder("execute", "exp.yaml").returncode == 0
    write(EXPERIMENT.replace("[Paris, London, Rome]", "[Paris, LONDON, Oslo]"))
    done = folder("execute", "exp.yaml", "--resume")
    assert done.returncode == 0, done.stderr
    assert outcomes(folder, "--where", "backend=candidate") == {
        "candidate 0": ["passed", "passed"],
        "candidate 1": ["passed", "passed", "failed"],
    }


def test_more_trials_are_compared_by_their_seed(folder: CommandLine) -> None:
    """A trial without its own counterpart waits for it; a greedy one takes any."""
    assert folder("execute", "exp.yaml", "--where", "backend=baseline").returncode == 0
    done = folder(
        "execute", "exp.yaml", "--resume", "--trials", "5", "--where", "backend=candidate"
    )
    assert done.returncode == 7, done.stderr
    assert "backend=baseline has no reply with seed " in done.stdout
    found = outcomes(folder, "--where", "backend=candidate")
    assert found["candidate 0"] == ["passed", "failed"]


def test_a_cell_that_is_compared_never_stops_early(cli: CommandLine, write: Write) -> None:
    """While it runs nothing is known of it; a cell with other checks stops as ever."""
    adaptive = "trials: {min: 2, max: 12, until: {half_width: 0.45}}"
    text = EXPERIMENT.replace("trials: 3", adaptive).replace("[0, 1]", "[1]")
    write(text.replace("LONDON", "London"))
    done = cli("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert {key: len(found) for key, found in outcomes(cli).items()} == {
        "baseline 1": 12,
        "candidate 1": 12,
    }
    done = cli("export", "exp.yaml", "--trials", "--where", "test=plain")
    assert len(done.stdout.splitlines()) < 24
    assert "0 trials to run" in cli("execute", "exp.yaml", "--resume").stderr


def test_two_backends_that_are_one_are_equal(cli: CommandLine, write: Write) -> None:
    """They share their trials, so each is equal to the other's."""
    write(EXPERIMENT.replace("LONDON", "London"))
    done = cli("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    assert {outcome for found in outcomes(cli).values() for outcome in found} == {"passed"}


def test_a_cell_without_a_counterpart_does_not_apply(cli: CommandLine, write: Write) -> None:
    """It is never run, since nothing could judge it; the plan says why, and what to do."""
    write(EXPERIMENT + "exclude: [{backend: baseline, test: capital, temperature: 1}]\n")
    planned = cli("plan", "exp.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "no cell is like this one but for backend=baseline" in planned.stdout
    done = cli("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert outcomes(cli) == {key: SETTLED[key] for key in ("baseline 0", "candidate 0")}


def test_a_counterpart_must_be_one_cell(cli: CommandLine, write: Write) -> None:
    """Where several are meant, the axis that tells them apart is named; it can be added."""
    options = "binary: llama-server, options: {threads: [1, 2]}"
    text = EXPERIMENT.replace(
        "baseline: {kind: scripted, replies: [Paris, London, Rome]}",
        f"baseline: {{kind: llama-server, {options}}}",
    ).replace("trials: 3", "trials: 3\nmodels: {m: {gguf: m.gguf}}")
    write(text)
    planned = cli("plan", "exp.yaml", "--where", "backend=candidate")
    assert "several cells have backend=baseline" in planned.stdout
    assert "options.threads (1, 2)" in planned.stdout
    write(text.replace("{backend: baseline}]", "{backend: baseline, options.threads: 2}]"))
    planned = cli("plan", "exp.yaml", "--where", "backend=candidate")
    assert planned.returncode == 0
    assert "several cells" not in planned.stdout


def test_compare_and_chart_read_the_same_verdicts(folder: CommandLine) -> None:
    """All that judges again does so in one way."""
    assert folder("execute", "exp.yaml", "--where", "backend=candidate").returncode == 7
    assert folder("execute", "exp.yaml", "--resume", "--where", "backend=baseline").returncode == 0
    done = folder("compare", "exp.yaml", "--baseline", "backend=baseline", "--json")
    assert done.returncode == 0, done.stderr
    done = folder("chart", "exp.yaml", "-o", "map.json")
    assert done.returncode == 0, done.stderr
    assert outcomes(folder) == SETTLED


BUILDS = """
name: builds
trials: 2
backends:
  fake: {kind: llama-server, binary: {old: old/llama-server, new: new/llama-server}, context: 512}
models: {m: {gguf: model.gguf}}
sampling: {temperature: [1]}
canary: false
tests:
  - name: hi
    messages: [{role: user, content: hi}]
    expect: [same_as: {binary: old}]
"""


def test_two_builds_of_one_cell_are_told_apart(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """They share the cell's id; each verdict is that of its own comparison, by name too."""
    for name in ("old", "new"):
        path = fake_binary.parent / name / "llama-server"
        path.parent.mkdir()
        said = f'export FAKE_REPLY=\'{{"role": "assistant", "content": "{name}"}}\'\n'
        first, rest = fake_binary.read_text().split("\n", 1)
        path.write_text(f"{first}\n{said}{rest}")
        path.chmod(fake_binary.stat().st_mode)
    write(BUILDS)
    for words in (["--where", "binary=new"], ["--resume"]):
        cli("execute", "exp.yaml", *words)
    for source in ("exp.yaml", "builds"):
        done = cli("export", source, "--trials")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        found = sorted((row["binary"], row["outcome"], row["kind"]) for row in rows)
        assert found == [
            ("new", "failed", "unlike_reference"),
            ("new", "failed", "unlike_reference"),
            ("old", "passed", None),
            ("old", "passed", None),
        ], source


def test_try_says_that_a_saved_reply_has_nothing_to_compare_with(folder: CommandLine) -> None:
    """A reply out of a file has no counterpart, and nothing is stored."""
    (folder.folder / "reply.txt").write_text("Paris", encoding="utf-8")
    done = folder("try", "exp.yaml", "--test", "capital", "--reply", "reply.txt")
    assert "no_reference" in done.stdout
    assert "Traceback" not in done.stderr
    assert not (folder.folder / ".matrixbench").exists()


def test_another_tests_reply_is_that_of_the_same_trial(cli: CommandLine, write: Write) -> None:
    """Two tests have other seeds; their trials are paired by number."""
    write(
        "name: same\ntrials: 3\nbackends: {a: {kind: scripted, replies: [x, y, z]}}\n"
        "tests:\n"
        "  - {name: first, messages: [{role: user, content: one}],"
        " expect: [content: {type: string}]}\n"
        "  - {name: other, messages: [{role: user, content: two}],"
        " expect: [{same_as: {test: first}}]}\n"
    )
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"] == {"passed": 6}
    rows = [json.loads(line) for line in cli("export", "exp.yaml", "--trials").stdout.splitlines()]
    seeds = {(row["test"], row["trial"]): row["seed"] for row in rows}
    assert seeds["first", 0] != seeds["other", 0]
    assert cli("try", "exp.yaml", "--test", "other").returncode == 0
