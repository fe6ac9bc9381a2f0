"""Runs against servers that are started for real: the fake llama-server with its faults."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import left_behind
from tests.fake_servers import fake_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 6
canary: false
timeouts: {{request_s: 20, start_s: 30}}
backends:
  fake:
    kind: llama-server
    binary: ./llama-server
    context: 1024
    slots: 2
    env: {env}
models: {{m: {{gguf: model.gguf}}}}
sampling: {{temperature: [0.5, 1]}}
tests:
  - name: hi
    messages: [{{role: user, content: hi}}]
    expect: [{{content: {{matches: .}}}}]
  - name: ho
    messages: [{{role: user, content: ho}}]
    expect: [{{content: {{matches: .}}}}]
"""


def experiment(**env: str) -> str:
    """Return an experiment whose server sees some environment variables."""
    return EXPERIMENT.format(env=json.dumps(env))


def stored(folder: Path) -> dict[str, int]:
    """Return outcome → trials in the store; every trial has its key once."""
    connection = sqlite3.connect(folder / ".matrixbench" / "results.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        keys = connection.execute(
            "SELECT count(*), count(DISTINCT cell || '/' || seed) FROM trial "
            "WHERE outcome IS NOT 'errored'"
        ).fetchone()
        assert keys[0] == keys[1]
        return dict(
            connection.execute(
                "SELECT coalesce(trial.outcome, verdict.outcome), count(*) FROM trial "
                "LEFT JOIN verdict ON verdict.trial = trial.id GROUP BY 1"
            )
        )
    finally:
        connection.close()


def until(lines: Iterator[str], text: str) -> None:
    """Read lines until one holds a text."""
    said = []
    for line in lines:
        said.append(line)
        if text in line:
            return
    pytest.fail(f"«{text}» never came: {''.join(said)}")


@pytest.mark.usefixtures("fake_binary")
def test_a_server_is_started_asked_and_stopped(cli: CommandLine, write: Write) -> None:
    """All trials have a verdict, and nothing of the server is left."""
    write(experiment())
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"] == {"passed": 24}
    assert stored(cli.folder) == {"passed": 24}
    assert left_behind(cli.folder) == []


@pytest.mark.usefixtures("fake_binary")
def test_time_is_estimated_from_earlier_trials(cli: CommandLine, write: Write) -> None:
    """The plan tells how long the rest will take once something has run."""
    write(experiment())
    cli("execute", "exp.yaml")
    told = json.loads(cli("plan", "exp.yaml", "--trials", "60", "--json").stdout)
    assert (told["done"], told["remaining"]) == (24, 216)
    assert told["estimate_s"] > 0


@pytest.mark.usefixtures("fake_binary")
def test_output_that_does_not_parse_is_rejected_and_the_run_goes_on(
    cli: CommandLine, write: Write
) -> None:
    """llama-server's parser error counts against the model's cell; nothing is retried."""
    write(experiment(FAKE_MODE="parser_500_ratio:0.5"))
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)["outcomes"]
    assert set(outcomes) == {"passed", "rejected"}
    assert sum(outcomes.values()) == 24


@pytest.mark.usefixtures("fake_binary")
def test_a_server_that_dies_at_start_shows_its_log(cli: CommandLine, write: Write) -> None:
    """Exit 4, with the command line and the log's tail."""
    write(experiment(FAKE_MODE="exit_at_start:3"))
    done = cli("execute", "exp.yaml")
    assert done.returncode == 4
    assert "llama-server" in done.stderr
    assert "--model" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_behind(cli.folder) == []


@pytest.mark.usefixtures("fake_binary")
def test_a_flag_that_the_server_does_not_know_is_named(cli: CommandLine, write: Write) -> None:
    """Before anything starts: its place in the file, and the nearest flag of that very binary."""
    text = experiment().replace("slots: 2", "slots: 2\n    options: {cache-tipe-k: f16}")
    write(text.replace("models:", "chat_templates: {odd: {name: chatmi}}\nmodels:"))
    for command in ("execute", "validate"):
        done = cli(command, "exp.yaml")
        assert done.returncode == 2, done.stderr
        assert "exp.yaml:12:15: the llama-server of fake does not know" in done.stderr
        assert "perhaps you meant «cache-type-k»" in done.stderr
        assert "perhaps you meant «chatml»" in done.stderr
        assert "2 problems" in done.stderr
    assert not (cli.folder / ".matrixbench" / "logs").exists()


def test_a_rebuilt_server_runs_again_and_the_plan_says_why(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Another content of the binary is another build; --any-build accepts the old results."""
    write(experiment())
    cli("execute", "exp.yaml")
    fake_binary.write_text(fake_binary.read_text() + "# rebuilt\n")
    plan = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    assert (plan["done"], plan["remaining"], plan["verified"]) == (0, 24, True)
    assert plan["launches"][0]["why"] == {"server changed": 24}
    drawn = cli("chart", "exp.yaml", "-o", "map.svg")
    assert "has not run; shown is" in drawn.stderr
    assert ">100%<" in (cli.folder / "map.svg").read_text()
    accepted = json.loads(cli("plan", "exp.yaml", "--any-build", "--json").stdout)
    assert (accepted["done"], accepted["remaining"]) == (24, 0)
    (cli.folder / "model.gguf").write_bytes(b"GGUF" + bytes(128))
    both = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    assert both["remaining"] == 24
    again = cli("execute", "exp.yaml", "--resume", "--any-build", "--json")
    assert json.loads(again.stdout)["ran"] == 0
    write(experiment().replace("  fake:", "  renamed:"))
    renamed = json.loads(cli("plan", "exp.yaml", "--any-build", "--json").stdout)
    assert (renamed["done"], renamed["remaining"]) == (24, 0)


@pytest.mark.usefixtures("fake_binary")
def test_a_fresh_start_that_fails_hides_nothing(cli: CommandLine, write: Write) -> None:
    """The new generation is opened when a server answers, not before."""
    write(experiment())
    cli("execute", "exp.yaml")
    write(experiment(FAKE_MODE="exit_at_start:3"))
    assert cli("execute", "exp.yaml", "--fresh").returncode == 4
    write(experiment())
    plan = json.loads(cli("plan", "exp.yaml", "--json").stdout)
    assert (plan["done"], plan["remaining"]) == (24, 0)


def test_what_is_done_without_its_binary_is_said_to_be_unverified(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Nothing is left to run, and the run says what that rests on."""
    write(experiment())
    cli("execute", "exp.yaml")
    fake_binary.unlink()
    done = cli("execute", "exp.yaml", "--resume")
    assert done.returncode == 0
    assert "24 trials counted as done under the build that ran last (unverified)" in done.stderr
    assert "llama-server" in done.stderr


def test_a_missing_binary_is_named(cli: CommandLine, write: Write) -> None:
    """The path that was looked for stands in the message; planning does not need it."""
    (cli.folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    write(experiment())
    assert cli("plan", "exp.yaml").returncode == 0
    done = cli("execute", "exp.yaml")
    assert done.returncode == 4
    assert str(cli.folder / "llama-server") in done.stderr


@pytest.mark.usefixtures("fake_binary")
def test_a_server_that_dies_under_way_is_started_again(cli: CommandLine, write: Write) -> None:
    """A death costs no trial: the ones in flight run again."""
    write(experiment(FAKE_MODE="die_once", FAKE_STATE=str(cli.folder / "died")))
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert "was started again" in done.stderr
    assert stored(cli.folder) == {"passed": 24}
    assert left_behind(cli.folder) == []


@pytest.mark.usefixtures("fake_binary")
def test_a_server_that_answers_health_but_no_chat_is_started_again(
    cli: CommandLine, write: Write
) -> None:
    """What hung is errored and runs again on resume; the rest is answered by the new server."""
    text = experiment(FAKE_MODE="hang_after:3").replace("request_s: 20", "request_s: 1.5")
    write(text.replace("slots: 2", "slots: 1").replace("trials: 6", "trials: 2"))
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 7, done.stderr
    told = json.loads(done.stdout)
    assert told["outcomes"] == {"passed": 6, "errored": 2}
    assert told["errors"]["server_hung"]["trials"] == 2
    assert "was started again" in done.stderr
    assert left_behind(cli.folder) == []


@pytest.mark.usefixtures("fake_binary")
def test_a_launch_that_is_given_up_leaves_the_others(cli: CommandLine, write: Write) -> None:
    """One server that cannot start costs its own cells alone: exit 7."""
    write(
        experiment().replace(
            "models:",
            "  broken:\n    kind: llama-server\n    binary: ./llama-server\n"
            '    env: {FAKE_MODE: "exit_at_start:3"}\nmodels:',
        )
    )
    done = cli("execute", "exp.yaml", "--json")
    assert done.returncode == 7, done.stderr
    summary = json.loads(done.stdout)
    assert summary["outcomes"] == {"passed": 24}
    assert len(summary["failed_launches"]) == 1


@pytest.mark.usefixtures("fake_binary")
def test_ctrl_c_stores_what_was_measured_and_says_how_to_go_on(
    cli: CommandLine, write: Write
) -> None:
    """Exit 130, no server left, and the printed line runs the rest."""
    write(experiment(FAKE_MODE="hang_after:5").replace("request_s: 20", "request_s: 600"))
    running = cli.start("execute", "exp.yaml")
    with running:
        assert running.stderr is not None
        until(running.stderr, "ready after")
        _wait_for_trials(cli.folder, 3)
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "to go on: matrixbench execute exp.yaml --resume" in errors
    assert left_behind(cli.folder) == []
    before = stored(cli.folder)["passed"]
    assert before >= 3
    write(experiment())
    assert cli("execute", "exp.yaml", "--resume").returncode == 0
    assert stored(cli.folder)["passed"] >= 24


@pytest.mark.usefixtures("fake_binary")
def test_ctrl_c_twice_ends_at_once(cli: CommandLine, write: Write) -> None:
    """The second one does not wait for replies, and still leaves no server."""
    write(experiment(FAKE_MODE="hang").replace("request_s: 20", "request_s: 600"))
    running = cli.start("execute", "exp.yaml")
    with running:
        assert running.stderr is not None
        until(running.stderr, "ready after")
        running.send_signal(signal.SIGINT)
        until(running.stderr, "stopping")
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert running.returncode == 130
    assert left_behind(cli.folder) == []


@pytest.mark.usefixtures("fake_binary")
def test_kill_9_leaves_no_server_and_loses_no_stored_trial(cli: CommandLine, write: Write) -> None:
    """After SIGKILL the server goes by itself; --resume runs the rest, each trial once."""
    write(experiment(FAKE_MODE="delay:0.05"))
    running = cli.start("execute", "exp.yaml")
    with running:
        assert running.stderr is not None
        until(running.stderr, "ready after")
        _wait_for_trials(cli.folder, 3)
        running.kill()
        running.communicate(timeout=60)
    _wait_until_gone(cli.folder)
    before = stored(cli.folder)["passed"]
    assert before >= 3
    done = cli("execute", "exp.yaml", "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ran"] == 24 - before
    assert stored(cli.folder) == {"passed": 24}


@pytest.mark.usefixtures("fake_binary")
def test_a_full_disk_is_exit_5_and_keeps_what_is_stored(cli: CommandLine, write: Write) -> None:
    """Where the store cannot grow the run ends with its error, and the store stays readable."""
    write(experiment().replace("trials: 6", "trials: 400"))
    assert cli("execute", "exp.yaml", "--trials", "2", "--json").returncode == 0
    before = stored(cli.folder)["passed"]

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = 200_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    running = _limited(cli, small_files)
    _, errors = running.communicate(timeout=120)
    assert running.returncode == 5, errors
    assert "results.db" in errors
    assert "Traceback" not in errors
    assert stored(cli.folder)["passed"] >= before
    assert left_behind(cli.folder) == []


def test_a_folder_that_cannot_be_written_is_exit_5(cli: CommandLine, write: Write) -> None:
    """The place of the store stands in the message."""
    write(
        "name: d\nbackends: {f: {kind: scripted, replies: [a]}}\n"
        "tests: [{name: t, messages: [{role: user, content: hi}], expect: [{content: a}]}]\n"
    )
    done = cli("execute", "exp.yaml", "--store", "/proc/self/nowhere/results.db")
    assert done.returncode == 5, done.stderr
    assert "/proc/self/nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_endpoint_is_asked_and_never_stopped(cli: CommandLine, write: Write) -> None:
    """A running server is measured; its key comes from the environment and is written nowhere."""
    key = "sk-very-secret-0123456789"
    keys = cli.folder / "keys"
    keys.write_text(key)
    with fake_server(flags=("--api-key-file", str(keys))) as url:
        write(
            experiment().replace(
                experiment()[experiment().index("backends:") : experiment().index("sampling")],
                f"backends: {{far: {{kind: endpoint, url: '{url}/v1', api_key_env: FAR_KEY}}}}\n"
                "models: {m: {id: fake}}\n",
            )
        )
        keys.unlink()
        os.environ["FAR_KEY"] = key
        try:
            done = cli("execute", "exp.yaml", "--json")
        finally:
            del os.environ["FAR_KEY"]
        missing = cli("execute", "exp.yaml", "--fresh")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"] == {"passed": 24}
    assert missing.returncode == 4
    assert "FAR_KEY" in missing.stderr
    written = b"".join(path.read_bytes() for path in cli.folder.rglob("*") if path.is_file())
    assert key.encode() not in written + done.stderr.encode() + done.stdout.encode()


def _limited(cli: CommandLine, before: Callable[[], None]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        cli.command("execute", "exp.yaml", "--resume"),
        cwd=cli.folder,
        env=cli.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=before,  # noqa: PLW1509  no threads here
    )


def _wait_for_trials(folder: Path, count: int) -> None:
    """Wait until so many trials are on the disk."""
    path = folder / ".matrixbench" / "results.db"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        while True:
            (found,) = connection.execute("SELECT count(*) FROM trial").fetchone()
            if found >= count:
                return
            os.sched_yield()
    finally:
        connection.close()


def _wait_until_gone(folder: Path) -> None:
    """Wait until no process mentions the folder; the test's own timeout bounds it."""
    while left_behind(folder):
        os.sched_yield()
