"""A server that ignores seeds, by the real commands: its trials count as one draw."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 12
canary: {canary}
timeouts: {{request_s: 20, start_s: 30}}
sampling: {{temperature: 1}}
backends:
  old: {{kind: llama-server, binary: ./llama-server, env: {old}}}
  new: {{kind: llama-server, binary: ./llama-server, env: {new}, replica: 2}}
models: {{m: {{gguf: model.gguf}}}}
tests:
  - name: hi
    messages: [{{role: user, content: hi}}]
    expect: [{{content: {{contains: yes}}}}]
"""
AGAINST = ("compare", "exp.yaml", "--baseline", "backend=old", "--gate")


def experiment(old: str, new: str, mode: str = "", *, canary: bool = True) -> str:
    """Return an experiment of two servers that always say one thing each."""
    env = [
        json.dumps({"FAKE_MODE": mode, "FAKE_REPLY": json.dumps({"content": said})})
        for said in (old, new)
    ]
    return EXPERIMENT.format(canary=str(canary).lower(), old=env[0], new=env[1])


def run(cli: CommandLine, text: str, write: Write) -> None:
    """Execute an experiment."""
    write(text)
    done = cli("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr


def rows(cli: CommandLine, *words: str) -> list[dict[str, Any]]:
    """Return an export's rows."""
    return [json.loads(line) for line in cli("export", "exp.yaml", *words).stdout.splitlines()]


def test_one_draw_a_side_is_no_regression(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Twelve times yes against twelve times no: undecided, with the reason and what to do."""
    assert fake_binary.exists()
    run(cli, experiment("yes", "no"), write)
    done = cli(*AGAINST)
    assert done.returncode == 9, done.stdout
    told = " ".join(done.stdout.split())
    assert "the server of the candidate and baseline ignores seeds" in told
    assert "have it take each request's seed" in told
    assert "would decide" not in told
    found = json.loads(cli(*AGAINST, "--json").stdout)["candidates"][0]
    assert found["gate"]["verdict"] == "undecided"
    assert found["gate"]["one_draw"] == 1
    (cell,) = found["cells"]
    assert (cell["basis"], cell["candidate_trials"], cell["p"]) == ("one draw", 1, None)
    assert cell["low"] < -0.9
    assert cell["high"] > 0
    assert "canary" in cell["candidate_seeds_ignored"]

    old, new = rows(cli, "--k", "1,2")
    assert (old["trials"], old["draws"], old["distinct"]) == (12, 1, 1)
    assert old["low"] == pytest.approx(0.2065, abs=1e-4)  # Wilson's of 1 of 1
    assert (old["pass_hat_1"], old["pass_hat_2"], new["pass_at_1"]) == (1, None, 0)
    ranked = json.loads(cli("rank", "exp.yaml", "--json").stdout)["rows"]
    assert [row["seeds_ignored"] for row in ranked] == [1, 1]
    assert ranked[0]["these_low"] == pytest.approx(0.2065, abs=1e-4)
    assert "all trials of a cell are one draw" in " ".join(cli("rank", "exp.yaml").stdout.split())
    assert "seeds ignored: all trials of a cell are one draw" in cli("status", "exp.yaml").stdout
    launches = json.loads(cli("status", "exp.yaml", "--json").stdout)["launches"]
    assert all("canary" in launch["seeds_ignored"] for launch in launches)
    assert "one draw: the launch ignores seeds" in cli("show", "exp.yaml").stdout


def test_pictures_and_markdown_say_it(cli: CommandLine, write: Write, fake_binary: Path) -> None:
    """Squares, their legend, the subtitle of the differences, and a pull request's table."""
    assert fake_binary.exists()
    run(cli, experiment("yes", "no"), write)
    cli("chart", "exp.yaml", "-o", "map.json")
    drawn = (cli.folder / "map.json").read_text(encoding="utf-8")
    assert "seeds ignored: one draw" in drawn
    cli(*AGAINST, "-o", "diff.json")
    assert "ignores seeds" in (cli.folder / "diff.json").read_text(encoding="utf-8")
    cli(*AGAINST, "-o", "diff.md")
    assert "ignores seeds" in (cli.folder / "diff.md").read_text(encoding="utf-8")


def test_without_a_canary_short_replies_show_nothing(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Equal replies alone never lower n: what is sure of its answer gave twelve draws."""
    assert fake_binary.exists()
    run(cli, experiment("yes", "no", canary=False), write)
    assert cli(*AGAINST).returncode == 8
    assert [row["draws"] for row in rows(cli)] == [12, 12]
    assert "one reply" in cli("status", "exp.yaml").stdout


def test_without_a_canary_long_replies_that_never_differ_show_it(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Twelve times the same forty words at temperature 1, under twelve seeds."""
    assert fake_binary.exists()
    long = " ".join(["word"] * 40)
    run(cli, experiment(f"yes {long}", f"no {long}", canary=False), write)
    assert cli(*AGAINST).returncode == 9
    assert [row["draws"] for row in rows(cli)] == [1, 1]
    # What a selection shows does not depend on what it leaves out.
    (alone,) = rows(cli, "--where", "backend=new")
    assert "open-ended" in alone["seeds_ignored"]


def test_a_server_that_honours_seeds_keeps_its_trials(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """The fake server's words follow from the seed."""
    assert fake_binary.exists()
    plain = EXPERIMENT.format(canary="true", old="{}", new="{}")
    run(cli, plain.replace("contains: yes", "matches: ."), write)
    assert cli(*AGAINST).returncode != 8
    assert [(row["draws"], row["seeds_ignored"]) for row in rows(cli)] == [(12, None)] * 2
