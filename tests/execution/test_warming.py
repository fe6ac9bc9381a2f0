"""A warm-up has each prompt computed before the trials, and counts for nothing."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing
from sqlite3 import connect
from typing import TYPE_CHECKING, Any

from matrixbench.execution.events import WarmingUp
from matrixbench.execution.inspection import distinct_prompts
from matrixbench.execution.settings import settings_for
from matrixbench.execution.trials import Prompts
from matrixbench.gated import build_plan, execute
from matrixbench.plan.matrix import build_matrix
from matrixbench.plan.planner import CellWork
from matrixbench.spec.load import load_experiment
from tests.fake_servers import fake_server

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.spec.load import Experiment
    from tests.conftest import Load, Write

FILE = """
name: warm
trials: 2
canary: false
{more}
backends: {{e: {{kind: endpoint, url: "{url}/v1", concurrency: 2}}}}
models: {{m: {{id: m}}}}
sampling: {{temperature: [0.2, 0.7, 1.2]}}
tests:
  - name: hi
    messages: [{{role: user, content: hi}}]
    request: {{max_tokens: 9}}
    expect: [{{content: {{matches: .}}}}]
  - name: rain
    messages: [{{role: user, content: Rain?}}]
    tools: [{{type: function, function: {{name: look, parameters: {{type: object}}}}}}]
    expect: [{{content: {{matches: .}}}}]
charts: {{latency: {{metric: latency_p50_s}}}}
"""


def file(write: Write, url: str, more: str = "warm_up: true") -> Experiment:
    """Return the experiment against a server."""
    return load_experiment(write(FILE.format(url=url, more=more)), environ={})


def asked(log: Path) -> list[dict[str, Any]]:
    """Return the bodies that a fake server was sent, in order."""
    return [json.loads(line)["body"] for line in log.read_text(encoding="utf-8").splitlines()]


def test_each_prompt_is_computed_before_the_first_trial(write: Write, tmp_path: Path) -> None:
    """One token of each prompt is asked for, as often as trials of it will be sent at a time."""
    log, events = tmp_path / "log", list[object]()
    with fake_server(FAKE_LOG=str(log)) as url:
        experiment = file(write, url)
        summary = asyncio.run(execute(experiment, listener=events.append))
    bodies = asked(log)
    first = bodies[:4]
    assert [body["messages"][-1]["content"] for body in first] == ["hi", "hi", "Rain?", "Rain?"]
    assert {body["max_tokens"] for body in first} == {1}
    assert not any("temperature" in body for body in first)
    assert ["tools" in body for body in first] == [False, False, True, True]
    assert len(bodies) == 4 + 12
    assert [event.prompts for event in events if isinstance(event, WarmingUp)] == [2]
    assert summary.ran == 12
    with closing(connect(settings_for(experiment).store)) as store:
        assert store.execute("SELECT count(*) FROM trial").fetchone() == (12,)
        ((note,),) = store.execute("SELECT value FROM note WHERE name = 'warm_up'").fetchall()
    told = json.loads(note)
    assert (told["prompts"], told["requests"], told["refused"]) == (2, 4, 0)


def test_what_is_done_is_not_warmed_up_for(write: Write, tmp_path: Path) -> None:
    """A resume asks for the prompts of what is left, and for none where nothing is."""
    log = tmp_path / "log"
    with fake_server(FAKE_LOG=str(log)) as url:
        experiment = file(write, url)
        asyncio.run(execute(experiment))
        before = len(asked(log))
        asyncio.run(execute(experiment, mode="resume"))
        assert len(asked(log)) == before
        asyncio.run(execute(experiment, mode="resume", where="test=hi", trials=3))
        assert len(asked(log)) == before + 2 + 3


def test_a_prompt_that_is_refused_stops_nothing(write: Write) -> None:
    """The trials say themselves what is wrong."""
    with fake_server("parser_500") as url:
        summary = asyncio.run(execute(file(write, url)))
    assert summary.outcomes == {"rejected": 12}


def test_an_interruption_ends_a_warm_up(write: Write) -> None:
    """A server that answers nothing is not waited for once the user asked to stop."""

    async def interrupted(experiment: Experiment) -> int:
        stop = asyncio.Event()

        def listen(event: object) -> None:
            if isinstance(event, WarmingUp):
                asyncio.get_running_loop().call_soon(stop.set)

        return (await execute(experiment, listener=listen, interrupted=stop)).ran

    with fake_server("hang") as url:
        assert asyncio.run(interrupted(file(write, url))) == 0


def test_nothing_is_warmed_up_unless_the_file_says_so(write: Write, tmp_path: Path) -> None:
    """Without the key, and in a faithful file, which has no cache, only trials are sent."""
    for more in ("", "warm_up: true\nfaithful: true"):
        log = tmp_path / f"log{len(more)}"
        with fake_server(FAKE_LOG=str(log)) as url:
            asyncio.run(execute(file(write, url, more), mode="fresh"))
        assert len(asked(log)) == 12


def test_the_plan_says_where_the_cache_makes_cells_unlike(write: Write) -> None:
    """Only where a chart shows times that depend on it, and nothing is done about it."""
    url = "http://127.0.0.1:1"
    (note,) = build_plan(file(write, url, "")).plan.notes
    assert "the chart latency shows times, and cells share prompts" in note
    assert build_plan(file(write, url)).plan.notes == ()
    assert build_plan(file(write, url, "faithful: true")).plan.notes == ()
    text = FILE.format(url=url, more="").replace("latency_p50_s", "completion_tokens")
    assert build_plan(load_experiment(write(text), environ={})).plan.notes == ()
    alone = FILE.format(url=url, more="").replace("[0.2, 0.7, 1.2]", "0.2")
    assert build_plan(load_experiment(write(alone), environ={})).plan.notes == ()


def test_what_no_template_sees_makes_no_prompt(load: Load) -> None:
    """Sampling and length do not; tools, templates' own arguments and the like do."""
    experiment = load(
        """
        name: x
        backends: {s: {kind: scripted, replies: [a]}}
        sampling: {temperature: [0, 1], top_k: [1, 40]}
        request:
          stop: [["a"], ["b"]]
          chat_template_kwargs: [{enable_thinking: true}, {enable_thinking: false}]
        tests:
          - name: t
            messages: [{role: user, content: hi}]
            expect: [{no_tool_calls: true}]
        """
    )
    cells = build_matrix(experiment).launches[0].cells
    found = distinct_prompts([CellWork(cell, 1) for cell in cells], Prompts(()))
    assert [prompt.cells for prompt in found] == [8, 8]
    assert {prompt.body["max_tokens"] for prompt in found} == {1}
