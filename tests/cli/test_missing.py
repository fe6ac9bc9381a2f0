"""`compare --gate` where trials are missing: what it prints, and its exit codes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import CommandLine

if TYPE_CHECKING:
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 60
sampling: {temperature: 1}
backends:
  old: {kind: scripted, replies: [Paris]}
  erring: {kind: scripted, replies: [Paris, {error: errored}, Paris, {error: errored}, Paris]}
  odd: {kind: scripted, replies: [Paris, "1e999"]}
  lost: {kind: scripted, replies: {"*": [x, x, x, x, {error: errored}]}}
  refusing: {kind: scripted, replies: [Paris, {error: rejected}]}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [{python: own:judged}]
"""
MODULE = '''"""A check that raises at half of the odd replies."""


def judged(reply):
    """Raise at a number that is none."""
    if reply.content == "1e999":
        raise OverflowError("cannot convert float infinity to integer")
    return "Paris" in reply.content
'''
HEAD, TESTS = EXPERIMENT[: EXPERIMENT.index("  erring")], EXPERIMENT.partition("tests:")[2]
NEW = f"{HEAD}  new: {{kind: scripted, replies: [Paris, 'Paris!']}}\ntests:{TESTS}"
"""The same with a candidate that always passes."""

AGAINST = ("compare", "exp.yaml", "--baseline", "backend=old", "--gate")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Return the command line in a folder where the experiment was run."""
    cli = CommandLine(folder=tmp_path_factory.mktemp("missing"))
    (cli.folder / "exp.yaml").write_text(EXPERIMENT, encoding="utf-8")
    (cli.folder / "own.py").write_text(MODULE, encoding="utf-8")
    cli("execute", "exp.yaml")
    return cli


def only(candidate: str) -> tuple[str, str]:
    """Return the selector of one candidate and the baseline."""
    return "--where", f"backend={candidate} or backend=old"


@pytest.mark.parametrize(
    ("candidate", "code", "lacking"),
    [
        ("erring", 9, "24 of the candidate's 60 trials (24 errored) have no verdict"),
        ("odd", 9, "30 of the candidate's 60 trials (30 at which a check raised)"),
        ("lost", 8, "whatever the trials without a verdict would have said"),
        ("refusing", 8, "regression: a drop of more than 0.1 is shown"),
    ],
)
def test_no_candidate_passes_by_what_it_did_not_say(
    demo: CommandLine, candidate: str, code: int, lacking: str
) -> None:
    """Errored and raising at its worst, a clear regression all the same, and what was rejected."""
    done = demo(*AGAINST, *only(candidate))
    assert done.returncode == code, done.stdout
    told = " ".join(done.stdout.split())
    assert lacking in told
    assert "would decide" not in told
    assert "candidate: " in told
    assert "baseline: 60 of 60 trials count (0 rejected), 0 errored (0 checks raised)" in told


def test_every_output_counts_them(demo: CommandLine) -> None:
    """Text, JSON and Markdown have the counts of both sides, and what either end would say."""
    done = demo(*AGAINST, *only("odd"), "--json", "-o", "odd.md")
    told = json.loads(done.stdout)
    (candidate,) = told["candidates"]
    assert candidate["trials"]["candidate"] == {
        "due": 60,
        "counted": 30,
        "rejected": 0,
        "errored": 30,
        "check_raised": 30,
        "never_asked": 0,
        "without_partner": 0,
        "missing": 30,
    }
    assert candidate["trials"]["baseline"]["missing"] == 0
    gate: dict[str, Any] = candidate["gate"]
    assert (told["missing"], gate["missing"], gate["verdict"]) == ("worst", "worst", "undecided")
    assert (gate["worst"]["difference"], gate["best"]["difference"]) == (-0.5, 0.0)
    assert gate["worst"]["low"] < -0.5 < gate["worst"]["high"] < -0.3
    assert (gate["worst"]["candidate_ratio"], gate["worst"]["baseline_ratio"]) == (0.5, 1.0)
    assert (gate["worst"]["verdict"], gate["best"]["verdict"]) == ("regression", "no worse")
    assert gate["unsettled"] in gate["reasons"]
    assert candidate["cells"][0]["candidate_check_raised"] == 30
    page = (demo.folder / "odd.md").read_text("utf-8")
    assert "### odd: undecided" in page
    assert "(30 at which a check raised) have no verdict" in page
    assert "- candidate: 30 of 60 trials count (0 rejected), 30 errored (30 checks raised)" in page
    assert "- missing trials at their worst: 0.500 against 1.000, difference −0.500" in page


def test_ignoring_them_is_said_in_every_output(demo: CommandLine) -> None:
    """The reading of before passes, and nobody who reads of it can overlook why."""
    words = (*AGAINST, *only("erring"), "--missing", "ignore")
    done = demo(*words, "-o", "ignored.md")
    assert done.returncode == 0, done.stdout
    verdict = (
        "shown no worse than a drop of 0.1, trials without a verdict left out (--missing ignore)"
    )
    assert verdict in " ".join(done.stdout.split())
    page = (demo.folder / "ignored.md").read_text("utf-8")
    assert verdict in page
    assert "- trials without a verdict are left out, as if by chance (--missing ignore)" in page
    told = json.loads(demo(*words, "--json").stdout)
    assert told["missing"] == told["candidates"][0]["gate"]["missing"] == "ignore"
    assert told["candidates"][0]["trials"]["candidate"]["missing"] == 24
    assert demo(*AGAINST, "--missing", "some").returncode == 2


def test_a_run_that_was_cut_off_passes_once_it_is_done(cli: CommandLine, write: Write) -> None:
    """One look at a declared number needs them all; the rest decides it."""
    write(NEW)
    (cli.folder / "own.py").write_text(MODULE, encoding="utf-8")
    cli("execute", "exp.yaml", "--where", "backend=old")
    cli("execute", "exp.yaml", "--where", "backend=new", "--trials", "40", "--resume")
    done = cli(*AGAINST)
    assert done.returncode == 9, done.stdout
    said = " ".join(done.stdout.split())
    assert "20 of the candidate's 60 trials (20 never asked) have no verdict" in said
    assert "execute --resume" in said
    cli("execute", "exp.yaml", "--resume")
    assert cli(*AGAINST).returncode == 0


def test_tests_that_one_side_lacks_are_missing(cli: CommandLine, write: Write) -> None:
    """A candidate that leaves out what is hard for it does not pass, unless one asks for less."""
    hard = TESTS.replace("name: capital", "name: hard").replace("of France", "of Japan")
    write(f"{NEW}{hard}\nexclude: [{{backend: new, test: hard}}]\n")
    (cli.folder / "own.py").write_text(MODULE, encoding="utf-8")
    cli("execute", "exp.yaml")
    done = cli(*AGAINST)
    assert done.returncode == 9, done.stdout
    said = " ".join(done.stdout.split())
    assert "60 of the candidate's 120 trials (60 of cells that only the other side has)" in said
    assert "select with --where what both sides have" in said
    assert cli(*AGAINST, "--where", "test=capital").returncode == 0


@pytest.mark.parametrize("replies", ["", "[{error: errored}]"])
def test_a_candidate_without_any_verdict_is_undecided(
    cli: CommandLine, write: Write, replies: str
) -> None:
    """Nothing was asked of it, or nothing came of what was: as text, data, Markdown and picture."""
    write(NEW.replace("[Paris, 'Paris!']", replies) if replies else NEW)
    (cli.folder / "own.py").write_text(MODULE, encoding="utf-8")
    cli("execute", "exp.yaml", *(() if replies else ("--where", "backend=old")))
    done = cli(*AGAINST)
    assert done.returncode == 9, done.stderr
    assert "60 of the candidate's 60 trials" in " ".join(done.stdout.split())
    data = cli(*AGAINST, "--json")
    assert data.returncode == 9
    assert json.loads(data.stdout)["candidates"][0]["gate"]["worst"]["verdict"] == "regression"
    assert cli(*AGAINST, "-o", "gate.md").returncode == 9
    assert cli(*AGAINST, "-o", "gate.svg").returncode == 9
    assert cli(*AGAINST, "--missing", "ignore").returncode == 9
    assert cli(*AGAINST[:-1]).returncode == 3
