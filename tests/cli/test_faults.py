"""Every fault that a server can have: what becomes of its trials, and that the run goes on.

All faults are backends of two experiments (one has a short limit for requests), one after another,
with a well-behaved backend at the end: a fault that hurts the run hurts what follows it. The
servers are the fake one, started for real by the kinds `command` and `llama-server`.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import FAKE_SERVER, CommandLine, left_behind

if TYPE_CHECKING:
    import subprocess

HEAD = """\
name: {name}
trials: 4
canary: false
timeouts: {{request_s: {request_s}, start_s: 60}}
models: {{m: {{gguf: model.gguf}}}}
tests:
  - name: hi
    messages: [{{role: user, content: hi}}]
    expect: [{{content: {{matches: .}}}}]
backends:
  good: {{kind: scripted, replies: [fine]}}
"""
BACKEND = f"""\
  {{name}}:
    kind: command
    argv:
      - {sys.executable}
      - {FAKE_SERVER}
      - --host={{{{{{{{ host }}}}}}}}
      - --port={{{{{{{{ port }}}}}}}}
      - --model={{{{{{{{ model }}}}}}}}
      - --log-file={{{{{{{{ here }}}}}}}}/{{name}}
    slots: {{at_a_time}}
    env: {{env}}
"""
LLAMA_SERVER = """\
  {name}:
    kind: llama-server
    binary: ./{name}/llama-server
    context: 1024
    slots: {at_a_time}
    env: {env}
"""
SHORT_S = 1.0
LONG_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mode of the fake server, and what has to become of its four trials.

    Args:
        mode: FAKE_MODE.
        ends: Outcome and kind, as `errored/bad_reply` → how many trials are stored so.
        at_a_time: Requests at a time.
        short: Whether the limit of a request is short.
        said: What stands in the output.
        gives_up: Whether the launch ends with an error.
        kind: How the server is started.
    """

    mode: str
    ends: dict[str, int] = field(default_factory=dict)
    at_a_time: int = 2
    short: bool = False
    said: str = ""
    gives_up: bool = False
    kind: str = "command"

    @property
    def name(self) -> str:
        """The backend's name."""
        return f"{self.kind}-{self.mode}".replace(":", "-").replace(",", "-").replace("_", "-")


DIES_AT_START = Fault(mode="exit_at_start:3", gives_up=True, said="the roof is on fire")
DIES = Fault(mode="die_after:3", ends={"passed": 4}, at_a_time=1, said="was started again")
HANGS = Fault(mode="hang", ends={"errored/server_hung": 4}, at_a_time=4, short=True)
PARSER = Fault(mode="parser_500", ends={"rejected/unparsed_output": 4})

FAULTS = [
    Fault(mode="slow_start:0.5", ends={"passed": 4}),
    Fault(mode="loading:3", ends={"passed": 4}),
    DIES_AT_START,
    replace(DIES_AT_START, kind="llama-server"),
    Fault(mode="port_taken", gives_up=True, said="couldn't bind"),
    # One of the requests is to blame, and stands for its cell.
    Fault(mode="die_mid_request", ends={"rejected/kills_server": 2}, at_a_time=4),
    DIES,
    replace(DIES, kind="llama-server"),
    # Nothing flows: that is no answer of the model's.
    HANGS,
    replace(HANGS, kind="llama-server"),
    Fault(mode="hang_after:3", ends={"passed": 3, "errored/server_hung": 1}, short=True),
    # Tokens flow, too slowly: that is one.
    Fault(mode="drip:30", ends={"failed/timeout": 4}, at_a_time=4, short=True),
    Fault(mode="drip:0.5", ends={"passed": 4}),
    Fault(mode="ignore_sigterm", ends={"passed": 4}),
    Fault(mode="fork_worker", ends={"passed": 4}),
    Fault(mode="garbage", ends={"rejected/unparsed_output": 4}),
    Fault(mode="truncated_json", ends={"rejected/unparsed_output": 4}),
    Fault(mode="wrong_content_type", ends={"passed": 4}),
    Fault(mode="huge:100", ends={"errored/bad_reply": 4}),
    PARSER,
    replace(PARSER, kind="llama-server"),
    Fault(mode="error_in_stream", ends={"rejected/unparsed_output": 4}),
    # What the request alone decides is asked once.
    Fault(mode="context_400", ends={"rejected/context_overflow": 1}, at_a_time=1),
    Fault(mode="template_400", ends={"rejected/template_error": 1}, at_a_time=1),
    # Load, not the request: alone it goes.
    Fault(mode="context_500:busy,delay:0.05", ends={"passed": 4}, at_a_time=4),
    Fault(mode="context_500", ends={"errored/overloaded": 4}),
    Fault(mode="rate_limit:2", ends={"passed": 4}),
    # A fault that nobody knows is asked again, and counts whether it repeats or not.
    Fault(mode="server_500:1", ends={"rejected/server_error": 1, "passed": 3}, at_a_time=1),
    Fault(mode="server_500:99", ends={"rejected/server_error": 4}, at_a_time=4),
    Fault(mode="close_keepalive", ends={"passed": 4}, at_a_time=1),
    # No request can succeed: the first one ends the launch.
    Fault(mode="unauthorized", ends={"errored/unauthorized": 1}, at_a_time=1, gives_up=True),
    Fault(mode="not_found", ends={"errored/not_found": 1}, at_a_time=1, gives_up=True),
]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What came of a run.

    Args:
        folder: Where it ran.
        done: What it printed, and its exit code.
        summary: Its summary.
        ends: Backend → outcome and kind → trials in the store.
        left: Command lines of processes that were still there when it ended.
    """

    folder: Path
    done: subprocess.CompletedProcess[str]
    summary: dict[str, Any]
    ends: dict[str, Counter[str]]
    left: list[str]


def run(folder: Path, faults: list[Fault], request_s: float) -> Ran:
    """Execute an experiment with a backend for each fault."""
    text = HEAD.format(name=folder.name, request_s=request_s)
    head, good = text[: text.index("  good:")], text[text.index("  good:") :]
    for fault in faults:
        (folder / fault.name).mkdir()
        script = folder / fault.name / "llama-server"
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{FAKE_SERVER}" "$@"\n')
        script.chmod(0o755)
        pidfile = str(folder / fault.name / "worker")
        env = {"FAKE_MODE": fault.mode, "FAKE_PIDFILE": pidfile, "FAKE_RETRY_AFTER": "0.2"}
        kind = BACKEND if fault.kind == "command" else LLAMA_SERVER
        head += kind.format(name=fault.name, at_a_time=fault.at_a_time, env=json.dumps(env))
    (folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    (folder / "exp.yaml").write_text(head + good)
    done = CommandLine(folder=folder).process("execute", "exp.yaml", "--json", timeout_s=180)
    left = left_behind(folder)
    return Ran(
        folder=folder, done=done, summary=json.loads(done.stdout), ends=ends(folder), left=left
    )


def ends(folder: Path) -> dict[str, Counter[str]]:
    """Return backend → outcome and kind → trials, as they are stored."""
    connection = sqlite3.connect(folder / ".matrixbench" / "results.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows: list[tuple[str, str, str | None]] = connection.execute(
            "SELECT launch.name, coalesce(trial.outcome, verdict.outcome), "
            "coalesce(trial.kind, verdict.kind) FROM trial "
            "JOIN launch ON launch.id = trial.launch "
            "LEFT JOIN verdict ON verdict.trial = trial.id"
        ).fetchall()
    finally:
        connection.close()
    found: dict[str, Counter[str]] = {}
    for name, outcome, kind in rows:
        counted = found.setdefault(name.split(" ")[0], Counter())
        counted["/".join(filter(None, (outcome, kind)))] += 1
    return found


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Ran]:
    """Return what came of the two runs: with the long limit, and (True) with the short one."""
    runs = {}
    for short, limit_s in ((False, LONG_S), (True, SHORT_S)):
        faults = [fault for fault in FAULTS if fault.short is short]
        folder = tmp_path_factory.mktemp("short" if short else "long")
        runs[short] = run(folder, faults, limit_s)
    return runs


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_outcome(ran: dict[bool, Ran], fault: Fault) -> None:
    """Its trials are stored with the outcome and the kind of the table, its launch ends so."""
    one = ran[fault.short]
    assert one.ends.get(fault.name, {}) == fault.ends, one.done.stderr
    given_up = [name for name in one.summary["failed_launches"] if name.startswith(fault.name)]
    assert bool(given_up) is fault.gives_up
    assert fault.said in one.done.stderr


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_nothing_of_a_faulty_server_is_left(ran: dict[bool, Ran], fault: Fault) -> None:
    """No process is there when the run has ended, and no key."""
    one = ran[fault.short]
    assert not [line for line in one.left if f"/{fault.name}" in line]
    worker = one.folder / fault.name / "worker"
    assert worker.exists() is (fault.mode == "fork_worker")
    if worker.exists() and Path("/proc").is_dir():
        assert not Path(f"/proc/{worker.read_text()}").exists()
    assert not list((one.folder / ".matrixbench").rglob("*.key"))


@pytest.mark.parametrize("short", [False, True])
def test_the_run_goes_on_after_every_fault(ran: dict[bool, Ran], *, short: bool) -> None:
    """The last backend has all its trials, and the exit code says that not all went well."""
    one = ran[short]
    assert one.ends["good"] == {"passed": 4}
    assert one.done.returncode == 7, one.done.stderr
    assert "Traceback" not in one.done.stderr
    assert one.left == []
