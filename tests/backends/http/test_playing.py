"""What a server sends, played by a real one: what becomes of the trials, and what a user is shown.

One experiment has a test for each way of answering. They are asked one at a time, so that each gets
its answers in turn.
"""

from __future__ import annotations

import gzip
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.backends.http.openai_chat import OpenAiChat
from matrixbench.backends.http.requests import RetryPolicy
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal
from tests.cli.conftest import CommandLine
from tests.fake_servers import listening_url

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = Path(__file__).parents[2] / "wire_server.py"
TRIALS = 4


def said(message: object, finish: str = "stop", **more: object) -> dict[str, object]:
    """Return a chat completion."""
    return {"choices": [{"message": message, "finish_reason": finish}], "model": "m", **more}


PARIS = said({"role": "assistant", "content": "Paris"})
GOOD = {"json": PARIS}
DELTA = {"choices": [{"index": 0, "delta": {"content": "Paris"}, "finish_reason": "stop"}]}
END = "data: [DONE]\n\n"
BOM = "\ufeff"
LATIN = json.dumps(said({"content": "Paris, privé"}), ensure_ascii=False).encode("latin-1")
UNKNOWN = {"error": {"code": 500, "message": "the roof is on fire", "type": "server_error"}}
PARSER = "1 validation error for list[X]: Invalid JSON: expected value at line 1 column 1"


def error(status: int, text: object) -> dict[str, object]:
    """Return an answer that is an error."""
    return {"status": status, "json": {"error": text}}


@dataclass(frozen=True, kw_only=True)
class Play:
    """A server's answers, in turn, and what becomes of four trials.

    Args:
        name: The test's name.
        answers: What the server plays.
        ends: Outcome, and kind where there is one → trials in the store.
        asked: How often each trial was asked; None: not all the same.
        after: The kinds after which trials were asked again.
    """

    name: str
    answers: list[dict[str, Any]]
    ends: dict[str, int]
    asked: int | None = 1
    after: str | None = None


def passes(name: str, *answers: dict[str, Any]) -> Play:
    """Return answers that are good replies."""
    return Play(name=name, answers=list(answers), ends={"passed": TRIALS})


def unparsed(name: str, **answer: object) -> Play:
    """Return a 200 that holds no reply."""
    return Play(name=name, answers=[answer], ends={"rejected/unparsed_output": TRIALS})


CALL = {"id": "c", "type": "function"}
PLAYS = [
    # The body outranks the header.
    passes("as-text", {**GOOD, "type": "text/plain; charset=utf-8"}),
    passes("as-html", {**GOOD, "type": "text/html"}),
    passes("as-bytes", {**GOOD, "type": "application/octet-stream"}),
    passes("json-as-stream", {**GOOD, "type": "text/event-stream"}),
    passes("stream-as-text", {"events": [": ping\n\n", DELTA, END], "type": "text/plain"}),
    passes("stream-as-json", {"events": ["\n", DELTA, END]}),
    passes("lines-of-json", {"text": f"{json.dumps(DELTA)}\n{json.dumps({'usage': None})}\n"}),
    passes("http-1-0", {**GOOD, "http": "1.0"}),
    passes("bom", {"text": BOM + json.dumps(PARIS)}),
    passes("utf-16", {"hex": json.dumps(PARIS).encode("utf-16").hex()}),
    passes("blank-lines", {"text": "\n \r\n" + json.dumps(PARIS)}),
    passes("latin-1", {"hex": LATIN.hex()}),
    passes("packed", {"hex": gzip.compress(json.dumps(PARIS).encode()).hex()}),
    # A reply is a reply, whatever is odd beside it.
    passes("a-completion", {"json": {"choices": [{"text": "Paris", "finish_reason": "stop"}]}}),
    passes("counts-as-texts", {"json": {**PARIS, "usage": {"prompt_tokens": "20"}}}),
    passes("not-a-number", {"text": json.dumps({**PARIS, "logprobs": float("nan")})}),
    passes("an-empty-error", {"json": {**PARIS, "error": {"code": 0, "message": ""}}}),
    # A 200 whose structure is broken is an answer.
    unparsed("no-choices", json={"choices": [], "usage": {}}),
    unparsed("null-choices", json={"choices": None, "error": None}),
    unparsed("null-message", json=said(None)),
    unparsed("no-function", json=said({"content": "Paris", "tool_calls": [CALL]})),
    unparsed("no-name", json=said({"tool_calls": [{**CALL, "function": {"arguments": "{}"}}]})),
    unparsed("done-alone", events=["data: [DONE]\n\n"]),
    unparsed("usage-alone", events=[{"choices": [], "usage": {}}, "data: [DONE]\n\n"]),
    unparsed("nothing", text=""),
    unparsed("half-of-it", text=json.dumps(PARIS)[:30]),
    # What it says, whatever its status.
    Play(
        name="parser-400",
        answers=[GOOD, error(400, PARSER)],
        ends={"passed": 2, "rejected/unparsed_output": 2},
    ),
    Play(
        name="parser-503",
        answers=[GOOD, error(503, "could not parse the tool call")],
        ends={"passed": 2, "rejected/unparsed_output": 2},
    ),
    Play(
        name="template-500",
        answers=[error(500, "Jinja Exception: roles must alternate")],
        ends={"rejected/template_error": 1},
    ),
    Play(
        name="context-in-a-stream",
        answers=[{"events": ["event: error\n", {"message": "prompt is too long: 9 > 8"}]}],
        ends={"rejected/context_overflow": 1},
    ),
    Play(
        name="crashed",
        answers=[error(500, "The model has crashed. (Exit code: 6)")],
        ends={"errored/server_crashed": TRIALS},
        asked=2,
        after="server_crashed",
    ),
    # A fault that nobody knows is asked again, and counts.
    Play(
        name="passing-fault",
        answers=[{"status": 500, "json": UNKNOWN}, GOOD],
        ends={"rejected/server_error": TRIALS},
        asked=2,
        after="server_error",
    ),
    Play(
        name="lasting-fault",
        answers=[{"status": 507, "text": "out of luck"}],
        ends={"rejected/server_error": TRIALS},
        asked=2,
        after="server_error",
    ),
    Play(
        name="empty-fault",
        answers=[{"status": 500}],
        ends={"rejected/server_error": TRIALS},
        asked=2,
        after="server_error",
    ),
    Play(
        name="fault-and-busy",
        answers=[{"status": 500, "json": UNKNOWN}, error(503, "server busy"), GOOD],
        ends={"passed": TRIALS},
        asked=3,
        after="server_error server_error",
    ),
    # A 400 that nobody knows needs a second seed, and no reply beside it.
    Play(
        name="odd-400",
        answers=[error(400, "the roof is on fire")],
        ends={"rejected/bad_request": 2},
    ),
    Play(
        name="odd-400-in-three",
        answers=[error(400, "the roof is on fire"), GOOD, GOOD],
        ends={"rejected/bad_request": 2, "passed": 2},
    ),
    # Lost connections are asked again, and leave their trace.
    Play(
        name="broken-off",
        answers=[{**GOOD, "short": 9}, GOOD, GOOD],
        ends={"passed": TRIALS},
        asked=None,
    ),
]
EXPERIMENT = f"""\
name: played
trials: {TRIALS}
canary: false
backends:
  server:
    kind: command
    argv: ["{sys.executable}", "{SERVER}", "{{{{ here }}}}/plays.json", "{{{{ port }}}}"]
    concurrency: 1
    env: {{WIRE_LOG: ./log}}
models: {{m: {{id: m}}}}
tests:
"""
TEST = """\
  - name: {name}
    messages: [{{role: user, content: Capital of France?}}]
    request: {{user: {name}}}
    expect: [{{content: {{contains: Paris}}}}]
"""


@dataclass(frozen=True, kw_only=True)
class Played:
    """What came of the experiment."""

    cli: CommandLine
    ends: dict[str, Counter[str]]
    rows: list[dict[str, Any]]

    def of(self, name: str) -> list[dict[str, Any]]:
        """Return the exported rows of a test."""
        return [row for row in self.rows if row["test"] == name]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Run the experiment once, and resume it once."""
    folder = tmp_path_factory.mktemp("played")
    plays = {play.name: play.answers for play in PLAYS}
    (folder / "plays.json").write_text(json.dumps(plays), encoding="utf-8")
    tests = "".join(TEST.format(name=play.name) for play in PLAYS)
    (folder / "exp.yaml").write_text(EXPERIMENT + tests, encoding="utf-8")
    cli = CommandLine(folder=folder)
    done = cli("execute", "exp.yaml", timeout_s=240)
    assert "Traceback" not in done.stderr
    assert done.returncode == 7, done.stderr  # the crashed model's trials are to be done yet
    cli("export", "exp.yaml", "--trials", "-o", "rows.jsonl")
    lines = (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    ends: dict[str, Counter[str]] = {}
    for row in rows:
        end = "/".join(filter(None, (row["outcome"], row["kind"])))
        ends.setdefault(row["test"], Counter())[end] += 1
    return Played(cli=cli, ends=ends, rows=rows)


@pytest.mark.parametrize("play", PLAYS, ids=lambda play: play.name)
def test_each_way_of_answering_has_its_outcome(played: Played, play: Play) -> None:
    """The trials are stored with it, and with how often and why they were asked."""
    assert played.ends[play.name] == play.ends
    if play.asked is not None:
        assert {row["asked"] for row in played.of(play.name)} == {play.asked}
        assert {row["asked_again"] for row in played.of(play.name)} == {play.after}


def test_a_lost_connection_leaves_its_trace(played: Played) -> None:
    """A trial that was sent again, alone, says so."""
    again = {row["asked_again"] for row in played.of("broken-off")}
    assert "no_connection" in {kind for kinds in again if kinds for kind in kinds.split()}


def test_show_prints_what_came_over_the_wire(played: Played) -> None:
    """Each answer with why it was asked again, and the body of the refusal."""
    shown = played.cli("show", "exp.yaml", "--where", "test=passing-fault", "--trial", "0")
    assert "asked 2 times, again after: server_error" in " ".join(shown.stdout.split())
    assert "answer 1, asked again: server_error" in shown.stdout
    assert json.dumps(UNKNOWN) in shown.stdout
    assert json.dumps(PARIS) in shown.stdout
    shown = played.cli("show", "exp.yaml", "--where", "test=done-alone", "--trial", "0")
    assert "the answer, as it came: unparsed_output" in shown.stdout
    assert "data: [DONE]" in shown.stdout
    told = played.cli("show", "exp.yaml", "--where", "test=done-alone", "--trial", "0", "--json")
    [attempt] = json.loads(told.stdout)["attempts"]
    assert (attempt["kind"], attempt["body"]) == ("unparsed_output", "data: [DONE]\n\n")


def test_status_says_how_many_were_asked_more_than_once(played: Played) -> None:
    """With the kinds of the answers after which they were."""
    told = json.loads(played.cli("status", "exp.yaml", "--json").stdout)["asked_again"]
    again = [row["asked_again"] for row in played.rows if row["asked_again"]]
    assert told["trials"] == len(again)
    assert told["kinds"] == Counter(kind for kinds in again for kind in kinds.split())
    assert f"asked more than once: {len(again)} trials" in played.cli("status", "exp.yaml").stdout


def test_resuming_asks_for_nothing_that_was_answered(played: Played) -> None:
    """Only for what was errored; a 400 that stands for its cell stands."""
    log = played.cli.folder / "log"
    before = log.read_text(encoding="utf-8").splitlines()
    played.cli("execute", "exp.yaml", "--resume")
    new = log.read_text(encoding="utf-8").splitlines()[len(before) :]
    assert {json.loads(line)[0] for line in new} == {"crashed"}


def test_a_build_that_loses_replies_does_not_pass_the_gate(tmp_path: Path) -> None:
    """Its faults are in words that nobody knows, and a second try goes well each time."""
    lossy = [GOOD, GOOD, GOOD, {"status": 500, "json": UNKNOWN}]
    for name, answers in (("old", [GOOD]), ("new", lossy)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"": answers}), encoding="utf-8")
    backends = "".join(
        f'  {name}: {{kind: command, concurrency: 1, argv: ["{sys.executable}", "{SERVER}", '
        f'"{{{{ here }}}}/{name}.json", "{{{{ port }}}}"]}}\n'
        for name in ("old", "new")
    )
    (tmp_path / "exp.yaml").write_text(
        f"name: gate\ntrials: 60\ncanary: false\nbackends:\n{backends}models: {{m: {{id: m}}}}\n"
        "tests:\n  - name: capital\n    messages: [{role: user, content: Capital of France?}]\n"
        "    expect: [{content: {contains: Paris}}]\n",
        encoding="utf-8",
    )
    cli = CommandLine(folder=tmp_path)
    assert cli("execute", "exp.yaml").returncode == 0
    gate = cli("compare", "exp.yaml", "--baseline", "backend=old", "--gate")
    assert gate.returncode == 8, gate.stdout + gate.stderr
    with closing(sqlite3.connect(tmp_path / ".matrixbench" / "results.db")) as connection:
        [lost] = connection.execute("SELECT count(*) FROM trial WHERE kind = 'server_error'")
    assert lost[0] > 10


@contextmanager
def playing(folder: Path, *answers: dict[str, Any]) -> Iterator[str]:
    """Start a server that plays these answers, and yield its root url."""
    script = folder / "one.json"
    script.write_text(json.dumps({"": answers}), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(script), "0"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    with process, process.stderr as log:
        try:
            yield listening_url(log)
        finally:
            process.kill()


async def at_once(_: float) -> None:
    """Wait for nothing."""


async def ask(
    folder: Path, *answers: dict[str, Any], proxied: bool = False, key: str | None = None
) -> ChatReply | Refusal:
    """Ask once."""
    request = ChatRequest(
        body={"messages": [{"role": "user", "content": "hi"}]},
        seed=1,
        trial=0,
        test="t",
        timeout_s=20,
    )
    with playing(folder, *answers) as base:
        policy = RetryPolicy(tries=3, sleep=at_once)
        chat = OpenAiChat(base_url=base, policy=policy, proxied=proxied, api_key=key)
        try:
            return await chat.ask(request)
        finally:
            await chat.aclose()


HTML = "<html>\r\n<head><title>Oh no</title></head><body><h1>Oh no</h1></body></html>"


@pytest.mark.parametrize(
    ("status", "proxied", "outcome", "kind", "asked"),
    [
        (200, False, Outcome.ERRORED, Kind.BAD_REPLY, 1),
        (502, False, Outcome.ERRORED, Kind.SERVER_ERROR, 3),
        (504, False, Outcome.ERRORED, Kind.SERVER_ERROR, 3),
        (413, False, Outcome.REJECTED, Kind.BAD_REQUEST, 1),
        (500, True, Outcome.ERRORED, Kind.SERVER_ERROR, 3),
        (500, False, Outcome.REJECTED, Kind.SERVER_ERROR, 2),
        (520, True, Outcome.ERRORED, Kind.SERVER_ERROR, 3),
        (529, True, Outcome.ERRORED, Kind.SERVER_ERROR, 3),
    ],
)
async def test_a_web_page_is_no_answer_of_the_server(
    tmp_path: Path, status: int, outcome: Outcome, kind: Kind, asked: int, *, proxied: bool
) -> None:
    """But a server of our own that sends one with a 500 has answered."""
    answer = {"status": status, "type": "text/html", "text": HTML}
    refusal = await ask(tmp_path, answer, proxied=proxied)
    assert isinstance(refusal, Refusal)
    assert (refusal.outcome, refusal.kind) == (outcome, kind)
    assert len(refusal.attempts) + 1 == asked
    assert refusal.body == HTML


async def test_a_reply_that_breaks_off_without_a_length_is_asked_once_more(tmp_path: Path) -> None:
    """Whole the second time: the connection was lost. Cut again: that is what the server says."""
    half = {"text": json.dumps(PARIS)[:30], "http": "1.0"}
    assert isinstance(await ask(tmp_path, half, GOOD), ChatReply)
    refusal = await ask(tmp_path, half)
    assert isinstance(refusal, Refusal)
    assert (refusal.kind, len(refusal.attempts)) == (Kind.UNPARSED_OUTPUT, 1)


async def test_no_key_is_in_what_is_kept(tmp_path: Path) -> None:
    """Neither in the bodies of what came before nor in that of the refusal."""
    key = "sk-very-secret-indeed"
    refusal = await ask(
        tmp_path, {"status": 500, "text": f"{key} is no good"}, {"json": {"error": key}}, key=key
    )
    assert isinstance(refusal, Refusal)
    assert len(refusal.attempts) == 1
    assert key not in repr(refusal)
    assert "***" in (refusal.body or "")
