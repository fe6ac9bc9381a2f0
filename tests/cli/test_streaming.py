"""Does streaming lose tool calls? An axis like any other, through every command."""

from __future__ import annotations

import json
import sys

import pytest

from tests.cli.conftest import FAKE_SERVER, CommandLine

CALL = {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
EXPERIMENT = f"""
name: streams
trials: 2
canary: false
backends:
  own:
    kind: command
    argv: [{sys.executable}, "{FAKE_SERVER}", "--port={{{{ port }}}}"]
    env:
      FAKE_MODE: "stream:loses"
      FAKE_REPLY: '{json.dumps({"role": "assistant", "content": None, "tool_calls": [CALL]})}'
models: {{m: {{id: m}}}}
request: {{stream: [false, true]}}
sampling: {{temperature: [0]}}
tests:
  - name: calls
    messages: [{{role: user, content: "Weather in Paris?"}}]
    tools: [{{type: function, function: {{name: get_weather, parameters: {{type: object}}}}}}]
    expect:
      - tool_calls: [{{name: get_weather}}]
      - same_as: {{request.stream: false}}
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Return the command line beside an experiment that has run."""
    cli = CommandLine(folder=tmp_path_factory.mktemp("streams"))
    (cli.folder / "exp.yaml").write_text(EXPERIMENT, encoding="utf-8")
    done = cli("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert "2 passed, 2 failed" in done.stdout
    return cli


def test_the_streamed_cell_alone_fails(measured: CommandLine) -> None:
    """What the server says without a stream passes; with one its calls are gone."""
    done = measured("export", "exp.yaml", "--trials")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    found = sorted((row["request.stream"], row["outcome"], row["kind"]) for row in rows)
    assert found == [
        (False, "passed", None),
        (False, "passed", None),
        (True, "failed", "no_tool_call"),
        (True, "failed", "no_tool_call"),
    ]
    assert {"token_gap_p50_s", "token_gap_max_s"} <= rows[0].keys()


def test_the_axis_has_a_name_everywhere(measured: CommandLine) -> None:
    """In --where, in rank, in compare and in a chart's axes."""
    shown = measured("show", "exp.yaml", "--where", "request.stream=true", "--json")
    (cell,) = json.loads(shown.stdout)["cells"]
    assert cell["coordinates"]["request.stream"] is True
    ranked = measured("rank", "exp.yaml", "--by", "request.stream", "--json")
    rows = json.loads(ranked.stdout)["rows"]
    assert [row["request.stream"] for row in rows] == [False, True]
    compared = measured("compare", "exp.yaml", "--baseline", "request.stream=false")
    assert compared.returncode == 0, compared.stderr
    assert "request.stream true against false" in compared.stdout
    drawn = measured("chart", "exp.yaml", "-o", "map.svg")
    assert drawn.returncode == 0, drawn.stderr
    assert "stream" in (measured.folder / "map.svg").read_text(encoding="utf-8")


def test_a_streamed_trial_tells_its_times_and_its_line(measured: CommandLine) -> None:
    """`show` prints the time to the first token, and a line that streams as well."""
    some = ("--where", "request.stream=true", "--trial", "0")
    shown = measured("show", "exp.yaml", *some)
    assert "curl -sSN " in shown.stdout
    line = json.loads(measured("show", "exp.yaml", *some, "--json").stdout)["request_line"]
    assert '"stream":true' in line
    assert '"stream_options":{"include_usage":true}' in line
    whole = measured("show", "exp.yaml", "--where", "request.stream=false", "--trial", "0")
    assert "curl -sS " in whole.stdout


def test_try_streams(measured: CommandLine) -> None:
    """One trial of the streamed cell says what came of it."""
    tried = measured("try", "exp.yaml", "--where", "request.stream=true", "--json")
    assert tried.returncode == 0, tried.stderr
    trials = json.loads(tried.stdout)["trials"]
    found = {one["coordinates"]["request.stream"]: one["kind"] for one in trials}
    assert found == {False: None, True: "no_tool_call"}


def test_excluded_streams_are_not_run(measured: CommandLine) -> None:
    """As for any other axis."""
    text = EXPERIMENT.replace("name: streams", "exclude: [{request.stream: true}]\nname: streams")
    (measured.folder / "less.yaml").write_text(text, encoding="utf-8")
    plan = json.loads(measured("plan", "less.yaml", "--json").stdout)
    assert (plan["cells"], plan["remaining"]) == (1, 0)


def test_a_value_that_is_no_stream_is_a_problem_of_the_file(measured: CommandLine) -> None:
    """It is told with what may stand there."""
    text = EXPERIMENT.replace("[false, true]", "[off, on]")
    (measured.folder / "wrong.yaml").write_text(text, encoding="utf-8")
    done = measured("validate", "wrong.yaml")
    assert done.returncode == 2
    assert "stream: expected true or false, found the text «off»" in done.stderr
    assert "stream: [false, true]" in done.stderr
