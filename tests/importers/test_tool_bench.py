"""What llama.cpp's tool_bench.py wrote, imported."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.importers.tool_bench import read_tool_bench
from tests.output.conftest import EXPERIMENT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

NO_CALL = "Expected 1 tool call in {'role': 'assistant', 'content': 'Hello'}"


def line(**changes: Any) -> str:
    """Return a line as tool_bench.py writes it: three of five passed."""
    record = {
        "chat_template": None,
        "chat_template_file": None,
        "model": "qwen",
        "server_name": "llama-server",
        "model_id": "org/qwen:Q4",
        "test": "weather",
        "temp": 0.5,
        "top_p": None,
        "top_k": None,
        "ctk": None,
        "ctv": None,
        "seed": None,
        "success_ratio": 0.6,
        "avg_time": 3.0,
        "median_time": 3.0,
        "success_count": 3,
        "success_times": [1.0, 2.0, 3.0],
        "failure_count": 2,
        "failure_times": [4.0, 5.0],
        "failures": [NO_CALL],
    }
    return json.dumps({**record, **changes})


RUN = "\n".join(
    [
        line(),
        line(server_name="llama-server (baseline)", success_times=[9.0, 8.0, 7.0]),
        line(test="hello world", temp=None),
        line(test="calc result", temp=0.0, ctk="q8_0", top_k=40),
    ]
)


@pytest.fixture
def run(cli: CommandLine) -> CommandLine:
    """Return the command line in a folder with a run's file."""
    (cli.folder / "old.jsonl").write_text(RUN + "\n")
    return cli


def exported(cli: CommandLine, *words: str) -> list[dict[str, Any]]:
    """Return the rows of an export."""
    return [json.loads(text) for text in cli("export", *words).stdout.splitlines()]


def test_runs_become_cells_under_the_files_name(run: CommandLine) -> None:
    """Axes have our names, tests those of the suite; counts and latencies are there."""
    done = run("import", "old.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "old: 20 trials of 4 cells imported\n"
    found = exported(run, "old")
    assert [row["test"] for row in found] == ["weather", "hello-world", "weather", "calc-result"]
    assert [row["backend"] == "llama-server" for row in found] == [True, True, False, True]
    assert {row["success_ratio"] for row in found} == {0.6}
    assert [row["temperature"] for row in found] == [0.5, None, 0.5, 0]
    assert found[0]["latency_p50_s"] == 3.0
    assert (found[0]["top_kind"], found[0]["top_reason"]) == ("no_tool_call", NO_CALL)
    cached = next(row for row in found if row["options.cache-type-k"])
    assert (cached["options.cache-type-k"], cached["top_k"], cached["greedy"]) == ("q8_0", 40, True)


def test_trials_are_marked_as_imported(run: CommandLine) -> None:
    """Each repeat is a trial with its time and, where it is known, its reason."""
    run("import", "old.jsonl", "--name", "ancient")
    trials = exported(
        run, "ancient", "--trials", "--where", "backend=llama-server and test=weather"
    )
    assert [(row["trial"], row["outcome"], row["latency_s"]) for row in trials] == [
        (0, "passed", 1.0), (1, "passed", 2.0), (2, "passed", 3.0),
        (3, "failed", 4.0), (4, "failed", 5.0),
    ]  # fmt: skip
    assert all(row["imported"] for row in trials)
    launches = json.loads(run("show", "ancient", "--launch", "--json").stdout)["launches"]
    assert {launch["build"]["kind"] for launch in launches} == {"imported"}
    assert all(launch["imported"] for launch in launches)
    assert (
        "its texts were not recorded"
        in run(
            "show", "ancient", "--where", "backend=llama-server and test=weather", "--trial", "4"
        ).stdout
    )


def test_a_file_adds_nothing_the_second_time(run: CommandLine) -> None:
    """The same file again, grown, and under another name: only what is new is added."""
    run("import", "old.jsonl")
    again = run("import", "old.jsonl")
    assert again.stdout == "old: 0 trials of 4 cells imported, 20 were there already\n"
    (run.folder / "old.jsonl").write_text(RUN + "\n" + line(success_times=[6.0, 6.1, 6.2]) + "\n")
    assert run("import", "old.jsonl").stdout.startswith("old: 5 trials of 4 cells imported")
    assert exported(run, "old")[0]["trials"] == 10
    renamed = run("import", "old.jsonl", "--name", "other")
    assert renamed.stdout.startswith("other: 0 trials of 4 cells imported, 25 were there")
    assert exported(run, "other") == exported(run, "old")
    with closing(sqlite3.connect(run.folder / ".matrixbench" / "results.db")) as store:
        (count,) = store.execute("SELECT count(*) FROM trial").fetchone()
    assert count == 25


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (line()[:100], "it is cut off"),
        ("hello", "it is no JSON"),
        ("[1, 2]", "it is JSON, but no object"),
        ("{}", "the field «model» is missing"),
        (line(model=None), "the field «model» is not a text"),
        (line(temp="hot"), "the field «temp» is not a number or null"),
        (line(temp=float("nan")), "the field «temp» is not a number or null"),
        (line(success_count=None), "the field «success_count» is not a count"),
        (line(failure_count=-1), "the field «failure_count» is not a count"),
        (line(success_count=0, failure_count=0), "it tells of 0 repeats"),
        (line(success_count=10**12), "it tells of 1,000,000,000,002 repeats"),
        (line(top_k=[1]), "the field «top_k» is not a number, a text or null"),
        ("[" * 100_000, "it is no JSON"),
    ],
)
def test_lines_that_cannot_be_used_are_named(run: CommandLine, bad: str, problem: str) -> None:
    """The line's number and what is wrong with it are said; the others are imported."""
    (run.folder / "old.jsonl").write_text(f"{line()}\n\n{bad}\n{line(temp=1)}\n")
    done = run("import", "old.jsonl")
    assert done.returncode == 0
    assert done.stderr == (f"old.jsonl:3: not imported: {problem}\nwarning: 1 line not imported\n")
    assert done.stdout.startswith("old: 10 trials of 2 cells")


@pytest.mark.parametrize("content", ["", "\n", "{}\n", "\x00\x01\n"])
def test_a_file_without_a_usable_line_is_refused(run: CommandLine, content: str) -> None:
    """Exit 2, and no store is made."""
    (run.folder / "old.jsonl").write_text(content)
    done = run("import", "old.jsonl")
    assert done.returncode == 2
    assert "no line can be imported" in done.stderr
    assert not (run.folder / ".matrixbench").exists()
    assert run("import", "missing.jsonl").returncode == 2
    assert run("import", "old.jsonl", "--format", "xml").returncode == 2


@pytest.mark.parametrize(
    ("changes", "latencies", "reasons"),
    [
        ({"failures": ["a", "b"]}, [4.0, 5.0], ["a", "b"]),
        ({"failures": []}, [4.0, 5.0], [None, None]),
        ({"failures": None, "failure_times": None}, [None, None], [None, None]),
        ({"failure_times": [4.0]}, [None, None], [NO_CALL, NO_CALL]),
        ({"failure_times": [4.0, "x"]}, [4.0, None], [NO_CALL, NO_CALL]),
        (
            {"failure_count": 3, "failure_times": [1, 2, 3], "failures": ["a", "b\x1b"]},
            [1.0, 2.0, 3.0],
            ["a", "b\\x1b", "one of 2 recorded failures"],
        ),
    ],
)
def test_times_and_reasons_are_given_only_where_they_are_known(
    run: CommandLine, changes: dict[str, Any], latencies: list[float], reasons: list[str]
) -> None:
    """A list of the wrong length gives no times; no reason is made up."""
    (run.folder / "old.jsonl").write_text(line(**changes))
    run("import", "old.jsonl")
    failed = [row for row in exported(run, "old", "--trials") if row["outcome"] == "failed"]
    assert [row["latency_s"] for row in failed] == latencies
    assert [row["reason"] for row in failed] == reasons


def test_out_again_it_is_what_came_in(run: CommandLine) -> None:
    """Counts, times, temperatures and names survive the way in and out."""
    run("import", "old.jsonl")
    back = exported(run, "old", "--format", "tool-bench")
    fields = (
        "model",
        "temp",
        "test",
        "success_ratio",
        "success_times",
        "failure_times",
        "failures",
    )
    assert sorted(str([row[name] for name in fields]) for row in back) == sorted(
        str([record[name] for name in fields]) for record in map(json.loads, RUN.splitlines())
    )


def test_old_results_chart_beside_new_ones(run: CommandLine, write: Write) -> None:
    """Imported into an experiment's name, they are in its picture, and a rerun keeps them."""
    write(EXPERIMENT)
    run("execute", "exp.yaml")
    run("import", "old.jsonl", "--name", "demo")
    assert run("execute", "exp.yaml", "--resume", "--json").returncode == 0
    assert len(exported(run, "demo")) == 8
    assert len(exported(run, "exp.yaml")) == 4
    drawn = run("chart", "demo", "-o", "both.svg")
    assert (drawn.returncode, drawn.stdout) == (0, "both.svg\n"), drawn.stderr
    picture = (run.folder / "both.svg").read_text()
    for text in ("llama-server (baseline)", "fake", "hello-world", "capital"):
        assert text in picture
    alone = run("chart", "demo", "--where", "backend=fake")
    assert alone.stdout == "demo.heatmap.png\n"


def test_a_fresh_start_and_another_import(run: CommandLine, write: Write) -> None:
    """A fresh start of the experiment hides imported trials; importing again brings them back."""
    write(EXPERIMENT)
    run("import", "old.jsonl", "--name", "demo")
    run("execute", "exp.yaml", "--fresh")
    hidden = [row["trials"] for row in exported(run, "demo") if row["backend"] != "fake"]
    assert hidden == [0] * 4
    run("import", "old.jsonl", "--name", "demo")
    back = [row["trials"] for row in exported(run, "demo") if row["backend"] != "fake"]
    assert back == [5] * 4


@given(
    st.dictionaries(
        st.sampled_from(list(json.loads(line()))),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text()),
    )
)
def test_no_line_breaks_the_reader(tmp_path_factory: Any, changes: dict[str, Any]) -> None:
    """Whatever stands in a field, a line is taken or named, and a good one beside it is taken."""
    path: Path = tmp_path_factory.mktemp("lines") / "run.jsonl"
    path.write_text(f"{line()}\n{line(**changes)}\n")
    read = read_tool_bench(path)
    assert read.lines[0].passed == 3
    for kept in read.lines:
        assert len(kept.cell()) == 24
