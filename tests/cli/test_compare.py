"""`compare`: what it pairs, what it prints, and its exit codes, on the scripted backend."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import CommandLine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: {trials}
backends:
  candidate: {{kind: scripted, replies: {{hard: {replies}, "*": [Berlin]}}}}
  baseline: {{kind: scripted, replies: {{hard: [Paris], "*": [Berlin]}}}}
sampling: {{temperature: [null, 0, 1]}}
tests:
  - name: hard
    messages: [{{role: user, content: "The capital of France?"}}]
    expect: [{{content: {{contains: Paris}}}}]
  - name: easy
    messages: [{{role: user, content: "The capital of Germany?"}}]
    expect: [{{content: {{contains: Berlin}}}}]
"""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Return the command line in a folder where 40 trials a cell were run."""
    cli = CommandLine(folder=tmp_path_factory.mktemp("demo"))
    (cli.folder / "exp.yaml").write_text(experiment(), encoding="utf-8")
    cli("execute", "exp.yaml")
    return cli


COMPARE = ("compare", "exp.yaml", "--baseline", "backend=baseline")


def experiment(*, trials: int = 40, replies: str = "[Paris, x]") -> str:
    """Return an experiment whose candidate gives some replies to the hard test."""
    return EXPERIMENT.format(trials=trials, replies=replies)


@pytest.mark.parametrize(
    ("trials", "replies", "code", "verdict"),
    [
        (40, "[Paris, Paris]", 0, "no worse"),
        pytest.param(40, "[x]", 8, "regression", marks=pytest.mark.process),
        (10, "[Paris, Paris]", 9, "undecided"),
    ],
)
def test_the_gate_has_its_exit_codes(
    cli: CommandLine, write: Write, trials: int, replies: str, code: int, verdict: str
) -> None:
    """0 shown no worse, 8 regression, 9 undecided; without --gate always 0."""
    write(experiment(trials=trials, replies=replies))
    cli("execute", "exp.yaml")
    gated = cli(*COMPARE, "--gate", "--max-drop", "0.1", "--json")
    assert gated.returncode == code, gated.stderr
    told = json.loads(gated.stdout)
    assert told["verdict"] == verdict
    assert cli(*COMPARE).returncode == 0
    gate = told["candidates"][0]["gate"]
    assert (gate["more_trials"] is None) is (code != 9)


def test_more_trials_decide_as_it_said(cli: CommandLine, write: Write) -> None:
    """With the number of trials that it asks for, the same ratios are decided."""
    write(experiment(trials=10, replies="[Paris, Paris]"))
    cli("execute", "exp.yaml")
    gate = json.loads(cli(*COMPARE, "--json").stdout)["candidates"][0]["gate"]
    write(experiment(trials=gate["trials_per_cell"], replies="[Paris, Paris]"))
    ran = json.loads(cli("execute", "exp.yaml", "--resume", "--json").stdout)["ran"]
    assert ran == gate["more_trials"]
    assert cli(*COMPARE, "--gate").returncode == 0


def test_json_has_every_number(demo: CommandLine) -> None:
    """Cells with coordinates, discordant counts, phi, p-values; greedy ones by equality."""
    told = json.loads(demo(*COMPARE, "--json").stdout)
    (candidate,) = told["candidates"]
    assert (told["axis"], told["baseline"], candidate["candidate"]) == (
        "backend",
        "baseline",
        "candidate",
    )
    hard = [cell for cell in candidate["cells"] if cell["coordinates"]["test"] == "hard"]
    sampled = [cell for cell in hard if cell["basis"] == "paired"]
    assert len(sampled) == 2
    for cell in sampled:
        assert cell["pairs"] == {"both": 20, "worse": 20, "better": 0, "neither": 0}
        assert cell["difference"] == -0.5
        assert cell["low"] < -0.5 < cell["high"] < 0
        assert cell["p_holm"] < 0.001
        assert cell["stands_out"]
    greedy = [cell for cell in hard if cell["basis"] == "greedy"]
    assert [(cell["same"], cell["p"], cell["low"]) for cell in greedy] == [(False, None, None)]
    assert candidate["overall"]["tests"] == 2
    assert candidate["overall"]["difference"] == -0.25
    assert candidate["certain"]["cells"] == 2


@pytest.mark.parametrize("by", ["cell", "test"])
def test_the_table_fits_100_columns(cli: CommandLine, write: Write, by: str) -> None:
    """Rows by cell or by test; what differs comes first."""
    long = experiment().replace("name: easy", "name: one-that-has-quite-a-long-name-to-fold")
    write(long.replace('"*"', '"one*"'))
    cli("execute", "exp.yaml")
    told = cli(*COMPARE, "--by", by)
    assert told.returncode == 0, told.stderr
    assert max(map(len, told.stdout.splitlines())) <= 100
    assert "demo: backend candidate against baseline, 6 pairs of cells" in told.stdout
    assert "exact stratified test: p = " in told.stdout
    rows = told.stdout[told.stdout.index("  Holm\n") :].splitlines()
    assert "hard" in rows[1]


def test_a_single_cell_among_many_is_said_to_be_hopeless(cli: CommandLine, write: Write) -> None:
    """Where no cell could stand out whatever happened, it says so."""
    write(experiment(trials=3))
    cli("execute", "exp.yaml")
    assert "3 trials cannot make one of 4 cells stand out" in cli(*COMPARE).stdout


@pytest.mark.parametrize("suffix", ["md", "png", "svg", "html", "json"])
def test_files_are_written_by_suffix(demo: CommandLine, suffix: str) -> None:
    """Markdown for a pull request, or a heatmap of the differences."""
    told = demo(*COMPARE, "--json", "-o", f"diff.{suffix}")
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout)["experiment"] == "demo"
    assert f"wrote diff.{suffix}" in told.stderr
    content = (demo.folder / f"diff.{suffix}").read_bytes()
    assert len(content) > 500
    if suffix == "md":
        assert b"| **temperature=1" in content
    if suffix == "json":
        spec = json.loads(content)
        squares = spec["data"]["values"] if "values" in spec["data"] else spec["datasets"]
        assert "−50" in json.dumps(squares, ensure_ascii=False)


def test_axes_of_one_side_belong_to_what_is_compared(cli: CommandLine, write: Write) -> None:
    """A model's own axis makes a candidate of each of its values, against the one baseline."""
    write(
        """
        name: demo
        trials: 4
        backends: {fake: {kind: scripted, replies: [Paris, London]}}
        models: {small: {}, large: {gguf: "m-{quant}.gguf", axes: {quant: [Q4, Q8]}}}
        tests:
          - name: capital
            messages: [{role: user, content: "The capital of France?"}]
            expect: [{content: {contains: Paris}}]
        """
    )
    cli("execute", "exp.yaml")
    told = json.loads(cli("compare", "exp.yaml", "--baseline", "model=small", "--json").stdout)
    assert [candidate["candidate"] for candidate in told["candidates"]] == [
        "large · model.quant=Q4",
        "large · model.quant=Q8",
    ]
    other = cli("compare", "exp.yaml", "--baseline", "model=large")
    assert other.returncode == 2
    assert "several cells" in other.stderr


def test_numbers_are_named_as_numbers(demo: CommandLine) -> None:
    """`temperature=1.0` names 1; null is named by `null`."""
    told = demo("compare", "exp.yaml", "--baseline", "temperature=1.0", "--json")
    assert json.loads(told.stdout)["baseline"] == "1"
    told = demo("compare", "exp.yaml", "--baseline", "temperature=null", "--json")
    assert [c["candidate"] for c in json.loads(told.stdout)["candidates"]] == ["0", "1"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--baseline", "backend"), 2, "write AXIS=VALUE"),
        (("--baseline", "backnd=baseline"), 2, "the axes: backend, chat_template"),
        (("--baseline", "backend=x"), 2, "the values of backend: candidate, baseline"),
        (("--baseline", "model=default"), 2, "nothing to compare it with"),
        (("--baseline", "build=previous"), 2, "under an earlier build"),
        (("--baseline", "build=abc"), 2, "the store's builds are"),
        (("--baseline", "backend=baseline", "--where", "backend=candidate"), 2, "has no value"),
        (("--baseline", "backend=baseline", "--where", "test=x"), 3, "no cell is selected"),
        (("--baseline", "backend=baseline", "--max-drop", "2"), 2, "--max-drop 0.1"),
        (("--baseline", "backend=baseline", "-o", "x.gif"), 2, ".gif"),
        (("--baseline", "backend=baseline", "--by", "model"), 2, "--by"),
        (("--baseline", "backend=baseline", "-o", "no/such/folder/x.md"), 2, "cannot be written"),
        ((), 2, "--baseline"),
    ],
)
def test_mistakes_have_their_exit_code(
    demo: CommandLine, words: tuple[str, ...], code: int, message: str
) -> None:
    """What does not pair is said with the values there are, without a traceback."""
    done = demo("compare", "exp.yaml", *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_measured_is_nothing_selected(cli: CommandLine, write: Write) -> None:
    """Before the first run, and where one side has not run, it says what to do."""
    write(experiment(trials=3))
    assert "first run" in cli(*COMPARE).stderr
    cli("execute", "exp.yaml", "--where", "backend=baseline")
    half = cli(*COMPARE)
    assert half.returncode == 3
    assert "execute --resume" in half.stderr


def test_two_builds_of_one_backend(cli: CommandLine, write: Write, fake_binary: Path) -> None:
    """`build=previous` compares the present binary with the one before, cell by cell."""
    write(
        """
        name: demo
        trials: 20
        canary: false
        backends: {fake: {kind: llama-server, binary: ./llama-server, context: 512, slots: 4}}
        models: {m: {gguf: model.gguf}}
        sampling: {temperature: 1}
        tests:
          - name: hi
            messages: [{role: user, content: hi}]
            expect: [{content: {contains: yes}}]
        """.replace("contains: yes", 'contains: "yes"')
    )
    script = fake_binary.read_text()

    def build(reply: str) -> None:
        message = json.dumps({"role": "assistant", "content": reply})
        fake_binary.write_text(script.replace("exec ", f"FAKE_REPLY='{message}' exec "))

    build("yes")
    cli("execute", "exp.yaml")
    alone = cli("compare", "exp.yaml", "--baseline", "build=previous")
    assert (alone.returncode, "earlier build" in alone.stderr) == (2, True)
    build("no")
    unrun = cli("compare", "exp.yaml", "--baseline", "build=previous")
    assert (unrun.returncode, "execute --resume" in unrun.stderr) == (3, True)
    cli("execute", "exp.yaml", "--resume")
    told = cli("compare", "exp.yaml", "--baseline", "build=previous", "--gate", "--json")
    assert told.returncode == 8, told.stderr
    (cell,) = json.loads(told.stdout)["candidates"][0]["cells"]
    assert cell["candidate"] == cell["baseline"]
    assert cell["candidate_build"] != cell["baseline_build"]
    assert cell["pairs"] == {"both": 0, "worse": 20, "better": 0, "neither": 0}
    named = f"build={cell['baseline_build'][:6]}"
    again = cli("compare", "exp.yaml", "--baseline", named, "--gate")
    assert again.returncode == 8
    drawn = cli("chart", "exp.yaml", "--baseline", "build=previous", "-o", "update.json")
    assert drawn.returncode == 0, drawn.stderr
    (squares,) = json.loads((cli.folder / "update.json").read_text())["datasets"].values()
    assert [row["text"] for row in squares] == ["−100"]


def test_two_backends_of_one_build_are_the_same(cli: CommandLine, write: Write) -> None:
    """They share their trials, so the candidate is no worse, and it says why."""
    write(experiment(replies="[Paris]"))
    cli("execute", "exp.yaml")
    told = cli(*COMPARE, "--gate")
    assert told.returncode == 0
    assert "6 cells without chance" in told.stdout


def test_plan_says_what_a_comparison_shows(demo: CommandLine) -> None:
    """The drop of the mean, and of one cell alone, in 80 % of runs; ratio and phi as stored."""
    said = " ".join(demo("plan", "exp.yaml").stdout.split())
    assert "40 trials per cell and 2 tests show, in 80 % of runs, a drop of the mean of 0." in said
    assert "as stored" in said
    told = json.loads(demo("plan", "exp.yaml", "--json").stdout)["detectable_drop"]
    assert (told["trials_per_cell"], told["tests"], told["share_of_runs"]) == (40, 2, 0.8)
    assert told["baseline_ratio_assumed"] is False
    assert 0 < told["mean"] < told["one_cell"] < 1
    greedy = demo("plan", "exp.yaml", "--where", "temperature=0", "--json")
    assert json.loads(greedy.stdout)["detectable_drop"] is None


def test_what_nothing_is_known_of_is_assumed(demo: CommandLine) -> None:
    """Where nothing is stored, a baseline of 0.9 and a phi of 0.3, and it is said."""
    told = " ".join(demo("plan", "exp.yaml", "--store", "none.db").stdout.split())
    assert "(baseline 0.9 and phi 0.3, assumed)" in told


def test_compare_says_what_its_cells_show(demo: CommandLine) -> None:
    """One line says the drop of a cell that so many trials show in 80 % of runs."""
    said = " ".join(demo(*COMPARE).stdout.split())
    assert "4 sampled cells with one reply to several seeds on a side" in said
    assert "80 % of runs would show a mean drop of 0." in said
    assert "40 trials show, in 80 % of runs, a drop of 0." in said


def test_a_chart_draws_the_difference(demo: CommandLine) -> None:
    """By file and by name, with the pairing of `compare`; without a baseline exit 2."""
    for target in ("exp.yaml", "demo"):
        done = demo("chart", target, "--baseline", "backend=baseline", "-o", "change.json")
        assert done.returncode == 0, done.stderr
        told = (demo.folder / "change.json").read_text(encoding="utf-8")
        assert "difference (points of 100)" in told
        (squares,) = json.loads(told)["datasets"].values()
        hard = next(row for row in squares if row["x"] == "hard" and row["y"] == "1")
        assert (hard["text"], "stands out" in hard) == ("−50", True)
    done = demo("chart", "exp.yaml", "--metric", "difference")
    assert (done.returncode, "a difference needs a baseline" in done.stderr) == (2, True)
    done = demo("chart", "exp.yaml", "--baseline", "backend=x")
    assert (done.returncode, "backend has no value «x»" in done.stderr) == (2, True)
