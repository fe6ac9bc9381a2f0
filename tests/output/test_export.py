"""`export`: rows for other programs, by file and by name."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.results.tables import COLUMNS, TRIAL_COLUMNS
from tests.output.conftest import EXPERIMENT

if TYPE_CHECKING:
    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

AXES = ["backend", "model", "chat_template", "temperature", "test"]
DOCS = Path(__file__).parents[2] / "docs" / "moving-results.md"


def rows(text: str) -> list[dict[str, object]]:
    """Return the objects of some JSON lines; NaN and the infinities are refused."""

    def refuse(name: str) -> None:
        raise ValueError(name)

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_one_row_a_cell(demo: CommandLine) -> None:
    """The axes come first under their names, then the documented columns; missing is null."""
    found = rows(demo("export", "exp.yaml").stdout)
    assert [list(row) for row in found] == [[*AXES, *COLUMNS, "pass_at_5", "pass_hat_5"]] * 4
    assert [(row["temperature"], row["test"]) for row in found] == [
        (None, "capital"), (1, "capital"), (None, "city"), (1, "city"),
    ]  # fmt: skip
    first = found[0]
    assert (first["success_ratio"], first["trials"], first["passed"]) == (0.75, 4, 3)
    assert (first["failed"], first["rejected"], first["errored"]) == (1, 0, 0)
    assert first["low"] == pytest.approx(0.3006, abs=1e-4)
    assert first["time_to_first_token_p50_s"] is None


def test_the_attempts_that_count_are_chosen(demo: CommandLine) -> None:
    """`--k` names them: 3 of 4 passed, so one of two always passes, both in half of the choices."""
    first = rows(demo("export", "exp.yaml", "--k", "2,9").stdout)[0]
    told = {name: value for name, value in first.items() if name.startswith("pass_")}
    assert told == {"pass_at_2": 1, "pass_hat_2": 0.5, "pass_at_9": None, "pass_hat_9": None}
    wrong = demo("export", "exp.yaml", "--k", "0,x")
    assert (wrong.returncode, "numbers of attempts" in wrong.stderr) == (2, True)


def test_every_row_refers_to_what_ran(demo: CommandLine) -> None:
    """A cell's row names all launches of its trials, which `show --launch` knows by number."""
    assert {row["launches"] for row in rows(demo("export", "exp.yaml").stdout)} == {"1"}
    (demo.folder / "exp.yaml").write_text(EXPERIMENT.replace("trials: 4", "trials: 6"))
    assert demo("execute", "exp.yaml", "--resume").returncode == 0
    assert {row["launches"] for row in rows(demo("export", "exp.yaml").stdout)} == {"1 2"}
    shown = json.loads(demo("show", "exp.yaml", "--launch", "--json").stdout)
    assert {launch["launch"] for launch in shown["launches"]} == {1, 2}


def test_one_row_a_trial(demo: CommandLine) -> None:
    """A trial's row names its cell, build, seed, outcome and launch."""
    found = rows(demo("export", "exp.yaml", "--trials").stdout)
    assert [list(row) for row in found] == [[*AXES, *TRIAL_COLUMNS]] * 16
    failed = [row for row in found if row["test"] == "capital" and row["outcome"] == "failed"]
    assert [(row["trial"], row["seed"], row["kind"], row["launch"]) for row in failed] == [
        (1, 1_420_215_370, "wrong_content", 1)
    ] * 2
    passed = next(row for row in found if row["outcome"] == "passed")
    assert (passed["kind"], passed["reason"], passed["imported"]) == (None, None, False)


def test_csv_holds_the_same(demo: CommandLine) -> None:
    """A header, then the same values as text; what is missing is empty."""
    for words in ((), ("--trials",)):
        told = demo("export", "exp.yaml", "--format", "csv", *words).stdout
        table = list(csv.DictReader(io.StringIO(told)))
        same = rows(demo("export", "exp.yaml", *words).stdout)
        assert len(table) == len(same)
        for written, row in zip(table, same, strict=True):
            assert list(written) == list(row)
            assert all((text == "") is (row[name] is None) for name, text in written.items())
            assert written["by_request"] == "false"


def test_by_name_is_as_by_file(demo: CommandLine) -> None:
    """Without its file, from its name alone, an experiment gives the same rows."""
    for words in ((), ("--trials",), ("--where", "test=city and temperature=1")):
        by_file = rows(demo("export", "exp.yaml", *words).stdout)
        by_name = rows(demo("export", "demo", *words).stdout)
        assert sorted(map(str, by_name)) == sorted(map(str, by_file))


def test_a_file_is_written_by_its_suffix(demo: CommandLine) -> None:
    """-o says the format by the suffix; its path is printed."""
    done = demo("export", "exp.yaml", "-o", "out.csv")
    assert (done.returncode, done.stdout) == (0, "out.csv\n")
    assert (demo.folder / "out.csv").read_text().startswith("backend,model,")
    demo("export", "exp.yaml", "-o", "out.jsonl")
    assert len(rows((demo.folder / "out.jsonl").read_text())) == 4


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("-o", "out.xlsx"), 2, "--format"),
        (("--format", "xml"), 2, "formats are jsonl, csv, tool-bench"),
        (("--format", "tool-bench", "--trials"), 2, "one line a cell"),
        (("-o", "missing/out.csv"), 2, "cannot be written"),
        (("--where", "test=nothing"), 3, "no cell is selected"),
    ],
)
def test_mistakes_have_their_exit_code(
    demo: CommandLine, words: tuple[str, ...], code: int, message: str
) -> None:
    """A user's mistake is said in a line or two, and no half file is left."""
    done = demo("export", "exp.yaml", *words)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert not list(demo.folder.rglob("out*"))


def test_tool_bench_reads_its_own_fields(cli: CommandLine, write: Write) -> None:
    """One line a (server, model, temperature, test), with counts, times and its tests' names."""
    write(EXPERIMENT.replace("name: capital", "name: hello-world"))
    cli("execute", "exp.yaml")
    lines = rows(cli("export", "exp.yaml", "--format", "tool-bench").stdout)
    squares = {(r["model"], r["temp"], r["server_name"], r["test"]) for r in lines}
    assert len(squares) == len(lines) == 4
    first = lines[0]
    assert (first["server_name"], first["test"]) == ("fake", "hello world")
    assert (first["success_ratio"], first["success_count"], first["failure_count"]) == (0.75, 3, 1)
    times = [first["success_times"], first["failure_times"]]
    assert [len(listed) for listed in times if isinstance(listed, list)] == [3, 1]
    assert first["failures"] == ['expected text with "Paris", found "London"']


def test_cells_never_meet_in_one_square_of_tool_bench(cli: CommandLine, write: Write) -> None:
    """Axes that it does not have are put into the names of server and model."""
    write(
        EXPERIMENT.replace(
            "sampling: {temperature: [null, 1]}",
            "chat_templates: {native: {}, chatml: {name: chatml}}\nsampling: {top_k: [20, null]}",
        )
    )
    cli("execute", "exp.yaml")
    lines = rows(cli("export", "exp.yaml", "--format", "tool-bench").stdout)
    assert {line["server_name"] for line in lines} == {
        "fake · native",
        "fake · native · top_k=20",
        "fake · chatml",
        "fake · chatml · top_k=20",
    }
    squares = {(r["model"], r["temp"], r["server_name"], r["test"]) for r in lines}
    assert len(squares) == len(lines) == 8


def test_errored_trials_are_no_failures_for_tool_bench(cli: CommandLine, write: Write) -> None:
    """Nothing was measured in them: they lower n; rejected ones count."""
    write(
        EXPERIMENT.replace(
            "[Paris, London, Paris, Paris]", "[Paris, {error: errored}, {error: rejected}]"
        )
    )
    cli("execute", "exp.yaml")
    first = rows(cli("export", "exp.yaml", "--format", "tool-bench").stdout)[0]
    assert (first["success_count"], first["failure_count"]) == (2, 1)


@pytest.mark.parametrize(("title", "columns"), [("A cell", COLUMNS), ("A trial", TRIAL_COLUMNS)])
def test_the_documented_columns_are_those_that_are_written(
    title: str, columns: dict[str, str]
) -> None:
    """The tables in the docs name every column, in order, and say what the code says."""
    section = DOCS.read_text(encoding="utf-8").partition(f"### {title}")[2].partition("\n#")[0]
    table = re.findall(r"^\| `(\w+)` \| (.+) \|$", section, re.MULTILINE)
    assert table == list(columns.items())
