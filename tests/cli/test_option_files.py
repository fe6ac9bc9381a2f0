"""Files that options name: found beside the file, checked, and measured again when they change."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import CommandLine
    from tests.conftest import Write

EXPERIMENT = """
name: demo
trials: 3
canary: false
backends:
  plain: &it {kind: llama-server, binary: ./llama-server, env: {FAKE_MODE: lora_reply}}
  tuned: {<<: *it, options: {lora: ./adapter.gguf}}
models: {m: {gguf: model.gguf}}
tests: [{name: t, messages: [{role: user, content: hi}], expect: [{content: Paris}]}]
"""
COMMAND = """
name: demo
trials: 2
canary: false
backends:
  own:
    kind: command
    argv: [./llama-server, "--port={{ port }}", "--model={{ model }}", "--lora={{ options.lora }}"]
    env: {FAKE_MODE: lora_reply}
    options: {lora: [{file: one.gguf}, {file: two.gguf}]}
models: {m: {gguf: model.gguf}}
tests: [{name: t, messages: [{role: user, content: hi}], expect: [{content: Paris}]}]
"""


def plan_of(cli: CommandLine) -> dict[str, Any]:
    """Return the plan."""
    planned = cli("plan", "exp.yaml", "--json")
    assert planned.returncode == 0, planned.stderr
    found: dict[str, Any] = json.loads(planned.stdout)
    return found


@pytest.mark.usefixtures("fake_binary")
def test_an_adapter_that_was_trained_again_runs_again(
    cli: CommandLine, write: Write, tmp_path: Path
) -> None:
    """From another folder; the other backend keeps its trials; the old build stays beside."""
    path = write(EXPERIMENT)
    adapter = tmp_path / "adapter.gguf"
    adapter.write_text("Paris\n")
    elsewhere = subprocess.run(
        cli.command("execute", str(path), "--json"),
        cwd="/",
        env=cli.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert json.loads(elsewhere.stdout)["outcomes"] == {"failed": 3, "passed": 3}
    assert plan_of(cli)["remaining"] == 0
    adapter.write_text("Berlin\n")
    plan = plan_of(cli)
    assert (plan["done"], plan["remaining"], plan["verified"]) == (3, 3, True)
    assert [launch["why"] for launch in plan["launches"]] == [{}, {"files of options changed": 3}]
    assert "what is in lora ./adapter.gguf has changed since it was measured" in plan["notes"][0]
    again = cli("execute", "exp.yaml", "--resume", "--json")
    assert json.loads(again.stdout)["outcomes"] == {"failed": 3}
    shown = cli("show", "exp.yaml", "--launch", "--where", "backend=tuned").stdout
    assert f"{tmp_path}/adapter.gguf" in shown
    assert "file lora ./adapter.gguf" in shown
    assert "(changed since launch 2)" in " ".join(shown.split())
    beside = ("--baseline", f"build={held(cli, present=False)}", "--where", "backend=tuned")
    assert "1 pair of cells" in cli("compare", "exp.yaml", *beside).stdout
    adapter.write_text("Paris\n")
    assert plan_of(cli)["remaining"] == 0


def held(cli: CommandLine, *, present: bool) -> str:
    """Return a build that the store holds of the launch with the adapter."""
    builds = json.loads(cli("plan", "exp.yaml", "--json", "--builds").stdout)
    return next(
        str(build["build"])
        for build in builds["launches"][1]["builds"]
        if build["present"] is present
    )


@pytest.mark.usefixtures("fake_binary")
def test_a_file_that_is_gone_is_told_before_anything_starts(
    cli: CommandLine, write: Write, tmp_path: Path
) -> None:
    """`validate` and `execute` say where it stands; `plan` notes it, also without the binary."""
    (tmp_path / "adaptor.gguf").touch()
    write(EXPERIMENT)
    for command in ("validate", "execute"):
        done = cli(command, "exp.yaml")
        assert done.returncode == 2, done.stdout
        place = f"exp.yaml:7:36: option lora: there is no file {tmp_path}/adapter.gguf"
        assert place in done.stderr
        assert f"perhaps you meant «{tmp_path}/adaptor.gguf»" in done.stderr
    (note,) = plan_of(cli)["notes"]
    assert note.startswith(place)
    (tmp_path / "llama-server").unlink()
    notes = plan_of(cli)["notes"]
    assert note in notes
    assert any("llama-server" in one for one in notes), notes
    assert ":7:36: option lora: there is no file" in cli("validate", "exp.yaml").stderr


@pytest.mark.usefixtures("fake_binary")
def test_every_fault_has_its_place(cli: CommandLine, write: Write, tmp_path: Path) -> None:
    """In lists, in lists of grids, in a model's options, behind an alias, and in `{file: …}`."""
    (tmp_path / "a.gguf").touch()
    write("""
        name: demo
        backends:
          s:
            kind: llama-server
            binary: ./llama-server
            options:
              - {lora: [a.gguf, b.gguf]}
              - {lora: {value: [{file: a.gguf}, {file: c.gguf}]}}
              - {model-draft: "${NOWHERE}/d.gguf", cache-type-k: {file: k}}
        models:
          m: {gguf: model.gguf, options: {slot-save-path: not-yet, lora: ~/e.gguf}}
          n: {gguf: model.gguf}
        tests: [{name: t, messages: [{role: user, content: hi}], expect: [{content: x}]}]
        """)
    told = cli("validate", "exp.yaml").stderr
    for place in ("8:25", "9:48", "10:23", "10:65", "12:66"):
        assert f"exp.yaml:{place}: option" in told
    assert "«NOWHERE» is not set" in told
    assert "5 problems" in told


@pytest.mark.usefixtures("fake_binary")
def test_files_of_any_command_line(cli: CommandLine, write: Write, tmp_path: Path) -> None:
    """`{file: …}` in a list is an axis; it is called by its path; its content counts."""
    write(COMMAND)
    (tmp_path / "one.gguf").write_text("Paris")
    assert "exp.yaml:10:" in cli("validate", "exp.yaml").stderr
    (tmp_path / "two.gguf").write_text("Rome")
    ran = cli("execute", "exp.yaml", "--json")
    assert json.loads(ran.stdout)["outcomes"] == {"failed": 2, "passed": 2}, ran.stderr
    chosen = cli("show", "exp.yaml", "--where", "options.lora=two.gguf").stdout
    assert "Rome" in chosen
    assert "Paris" not in chosen.partition("expected")[0]
    (tmp_path / "two.gguf").write_text("Paris")
    plan = plan_of(cli)
    assert [launch["why"] for launch in plan["launches"]] == [{}, {"files of options changed": 2}]
    assert plan["launches"][1]["name"].endswith("lora=two.gguf")


@pytest.mark.real
@pytest.mark.usefixtures("smollm2_path")
def test_the_embedded_server_reads_files_from_any_folder(
    cli: CommandLine, write: Write, tmp_path: Path, model_cache: Path
) -> None:
    """A grammar beside the experiment rules the replies, though the run begins elsewhere."""
    quickstart = (ROOT / "experiments" / "quickstart.yaml").read_text()
    models = quickstart[quickstart.index("models:") : quickstart.index("chat_templates:")]
    path = write(
        "name: grammar\ntrials: 2\ncanary: false\nmax_tokens: 8\n"
        "backends:\n  s: {kind: llama-server, context: 512, "
        "options: {grammar-file: data/answer.gbnf}}\n"
        f"{models}"
        "tests: [{name: t, messages: [{role: user, content: Tell me a story.}],"
        " expect: [{content: {matches: ^(Paris|Rome)$}}]}]\n"
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "answer.gbnf").write_text('root ::= "Paris" | "Rome"\n')
    hidden = {"MATRIXBENCH_CACHE": str(model_cache), "LLAMA_SERVER_BIN_PATH": ""}
    ran = subprocess.run(
        cli.command("execute", str(path), "--json"),
        cwd="/",
        env=cli.environment | hidden,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["outcomes"] == {"passed": 2}
