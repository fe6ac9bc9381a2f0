"""The main job with the real embedded llama.cpp server and a real model."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import ROOT, left_behind

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

pytestmark = pytest.mark.real


@pytest.fixture
def real(cli: CommandLine, smollm2_path: Path, model_cache: Path) -> CommandLine:
    """Return the command line with the cache that holds the model, and no other server in sight."""
    assert smollm2_path.exists()
    hidden = {name: "" for name in ("LLAMA_SERVER_BIN_PATH",) if name in os.environ}
    return replace(cli, env={"MATRIXBENCH_CACHE": str(model_cache), **hidden})


@pytest.mark.process
def test_the_quickstart_runs_and_draws_its_heatmap(real: CommandLine) -> None:
    """Plan, run and chart the shipped quickstart, cut down to one trial a cell."""
    quickstart = str(ROOT / "experiments" / "quickstart.yaml")
    place = ("--store", str(real.folder / "results.db"))
    some = ("--where", "temperature in (0, 1) and test in (opposite, sum)", "--trials", "1")
    ran = real("execute", quickstart, *place, *some, "--json", timeout_s=300)
    assert ran.returncode == 0, ran.stderr
    summary = json.loads(ran.stdout)
    assert summary["ran"] == 2 * 2 * 2
    assert summary["outcomes"]["passed"] >= 1
    plan = json.loads(real("plan", quickstart, *place, *some, "--json").stdout)
    assert (plan["remaining"], plan["verified"]) == (0, True)
    drawn = real("chart", quickstart, *place, "-o", "map.png")
    assert drawn.returncode == 0, drawn.stderr
    assert (real.folder / "map.png").read_bytes().startswith(b"\x89PNG")
    assert left_behind(real.folder) == []


def test_seeds_differ_and_repeat(real: CommandLine, write: Write) -> None:
    """In faithful mode two seeds give two texts, and a second run gives the same ones again."""
    package = (ROOT / "experiments" / "quickstart.yaml").read_text()
    models = package[package.index("models:") : package.index("chat_templates:")]
    write(
        "name: seeds\ntrials: 4\nfaithful: true\nmax_tokens: 12\n"
        "backends: {s: {kind: llama-server, context: 512}}\n"
        f"{models}"
        "sampling: {temperature: 1.5, top_k: 0, top_p: 1, min_p: 0}\n"
        "tests: [{name: t, messages: [{role: user, content: Tell me a story.}],"
        " expect: [{content: {matches: .}}]}]\n"
    )

    def texts(mode: str) -> list[str]:
        ran = real("execute", "exp.yaml", mode, "--json", timeout_s=300)
        assert ran.returncode == 0, ran.stderr
        return replies(real.folder / ".matrixbench" / "results.db")

    first = texts("--resume")
    assert len(set(first)) == 4
    both = texts("--fresh")
    assert sorted(both) == sorted(first * 2)


def replies(store: Path) -> list[str]:
    """Return the contents of all stored replies."""
    connection = sqlite3.connect(store)
    try:
        rows = connection.execute("SELECT message FROM reply").fetchall()
    finally:
        connection.close()
    return [json.loads(message)["content"] for (message,) in rows]


def test_a_conversation_with_a_tool_and_two_questions(real: CommandLine) -> None:
    """The model calls, reads the result and answers, twice; the transcript has every turn."""
    path = str(ROOT / "experiments" / "conversation.yaml")
    some = ("--store", "results.db", "--where", "temperature=0 and parameters.city=Paris")
    ran = real("execute", path, *some, "--json", timeout_s=300)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["outcomes"] == {"passed": 2}
    trial = json.loads(real("show", path, *some, "--trial", "0", "--json").stdout)
    first, second, third = trial["earlier"]
    assert [call["name"] for call in first["tool_calls"]] == ["get_weather"]
    assert [message["content"] for message in first["then"]] == ['{"celsius": 21}']
    assert "21" in second["content"]
    assert second["then"] == [{"role": "user", "content": "How warm is it in Madrid?"}]
    assert third["tool_calls"]
    assert trial["prompt_tokens"] > third["prompt_tokens"] > first["prompt_tokens"]
    assert left_behind(real.folder) == []


def test_the_server_takes_every_schema_of_the_shipped_suites(real: CommandLine) -> None:
    """None is rejected, and the easiest are within a tiny model's reach."""
    path = str(ROOT / "experiments" / "suites.yaml")
    asked = "tag in (schema, json-mode) and temperature=0 and chat_template=native"
    some = ("--store", "results.db", "--where", asked)
    ran = real("execute", path, *some, "--trials", "1", "--json", timeout_s=300)
    assert ran.returncode == 0, ran.stderr
    outcomes = json.loads(ran.stdout)["outcomes"]
    assert set(outcomes) <= {"passed", "failed"}
    assert outcomes["passed"] >= 3
    shown = json.loads(real("show", path, *some, "--outcome", "passed", "--json").stdout)
    assert "schema-person" in {cell["coordinates"]["test"] for cell in shown["cells"]}


def test_what_the_log_tells_of_the_cache_is_recorded(real: CommandLine, write: Write) -> None:
    """KV types and flash attention as asked for are confirmed by the server, and shown."""
    package = (ROOT / "experiments" / "quickstart.yaml").read_text()
    models = package[package.index("models:") : package.index("chat_templates:")]
    write(
        "name: cache\ntrials: 1\nmax_tokens: 4\ncanary: false\n"
        "backends: {s: {kind: llama-server, context: 512, options:"
        " {cache-type-k: q8_0, flash-attn: [on, off]}}}\n"
        f"{models}"
        "tests: [{name: t, messages: [{role: user, content: hi}],"
        " expect: [{content: {matches: .}}]}]\n"
    )
    ran = real("execute", "exp.yaml", timeout_s=300)
    assert ran.returncode == 0, ran.stderr
    shown = real("show", "exp.yaml", "--launch", "--json")
    found = [launch["effective"] for launch in json.loads(shown.stdout)["launches"]]
    assert [launch["flash_attn"] for launch in found] == ["on", "off"]
    assert {(launch["cache_type_k"], launch["cache_type_v"]) for launch in found} == {
        ("q8_0", "f16")
    }


def test_a_broken_model_shows_the_servers_log(real: CommandLine, write: Write) -> None:
    """A file that only begins like a model ends the launch with the server's own words."""
    (real.folder / "broken.gguf").write_bytes(b"GGUF" + b"\x03\x00\x00\x00" + bytes(64))
    write(
        "name: broken\nbackends: {s: {kind: llama-server}}\nmodels: {m: {gguf: broken.gguf}}\n"
        "tests: [{name: t, messages: [{role: user, content: hi}], expect: [{content: a}]}]\n"
    )
    done = real("execute", "exp.yaml")
    assert done.returncode == 4
    assert "broken.gguf" in done.stderr
    assert "Traceback" not in done.stderr
    assert left_behind(real.folder) == []


BINARY = os.environ.get("LLAMA_SERVER_BIN_PATH") or shutil.which("llama-server")


@pytest.mark.skipif(BINARY is None, reason="no llama-server on PATH or $LLAMA_SERVER_BIN_PATH")
def test_a_native_server_runs_beside_the_embedded_one(
    cli: CommandLine, write: Write, smollm2_path: Path, model_cache: Path
) -> None:
    """Two servers on one file, told apart by their builds, with options from the native's help."""
    package = (ROOT / "experiments" / "quickstart.yaml").read_text()
    models = package[package.index("models:") : package.index("chat_templates:")]
    embedded = cli.folder / "embedded"
    embedded.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m matrixbench.backends.llama.embedded "$@"\n'
    )
    embedded.chmod(0o755)
    write(
        "name: two\ntrials: 2\nmax_tokens: 8\n"
        "backends:\n"
        f"  native: {{kind: llama-server, binary: {BINARY}, context: 512, slots: 2,"
        " options: {cache-type-k: q8_0, flash-attn: on, threads: 2}}\n"
        "  wheel: {kind: llama-server, binary: ./embedded, context: 512, slots: 2}\n"
        f"{models}"
        "chat_templates: {native: {}, chatml: {name: chatml}}\n"
        "sampling: {temperature: 1}\n"
        "tests: [{name: t, messages: [{role: user, content: What is 2 + 2?}],"
        " expect: [{content: {matches: .}}]}]\n"
    )
    assert smollm2_path.exists()
    both = replace(cli, env={"MATRIXBENCH_CACHE": str(model_cache)})
    ran = both("execute", "exp.yaml", "--json", timeout_s=300)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["ran"] == 2 * 2 * 2
    plan = json.loads(both("plan", "exp.yaml", "--json").stdout)
    assert (plan["remaining"], plan["verified"]) == (0, True)
    assert len({launch["build"] for launch in plan["launches"]}) == 2
    assert left_behind(cli.folder) == []


def test_a_warm_up_has_each_prompt_in_the_cache_before_the_first_trial(
    real: CommandLine, write: Write
) -> None:
    """Without it the first trial of a shared prompt computes all of it, and is told from others."""
    package = (ROOT / "experiments" / "quickstart.yaml").read_text()
    models = package[package.index("models:") : package.index("chat_templates:")]
    words = " ".join(f"Word {number} is {number * 7 % 13}." for number in range(20))
    shares: dict[str, list[float]] = {}
    for name, asked in (("cold", ""), ("warm", "warm_up: true\n")):
        write(
            f"name: {name}\ntrials: 1\ncanary: false\nmax_tokens: 2\n{asked}"
            "backends: {s: {kind: llama-server, context: 1024, slots: 1}}\n"
            f"{models}"
            "sampling: {temperature: [0.5, 1]}\n"
            "tests:\n"
            f"  - name: long\n    messages: [{{role: user, content: {words}}}]\n"
            "    expect: [{cached_tokens: {min: 1}}]\n"
        )
        ran = real("execute", "exp.yaml", "--json", "--store", f"{name}.db", timeout_s=300)
        assert ran.returncode == 0, ran.stderr
        told = real("export", "exp.yaml", "--trials", "--store", f"{name}.db").stdout
        rows = [json.loads(line) for line in told.splitlines()]
        shares[name] = sorted(row["cached_share"] for row in rows)
        kinds = sorted(str(row["kind"]) for row in rows)
        assert kinds == (["None", "None"] if asked else ["None", "wrong_cached_tokens"])
        assert all(row["cached_tokens"] + row["computed_tokens"] > 100 for row in rows)
    assert shares["cold"][0] == 0
    assert min(shares["warm"] + shares["cold"][1:]) > 0.9
    said = real(
        "show", "exp.yaml", "--store", "warm.db", "--trial", "0", "--where", "temperature=1"
    )
    assert "prompt tokens (" in said.stdout
    launch = real("show", "exp.yaml", "--store", "warm.db", "--launch").stdout
    assert '"prompts": 1' in launch
