"""What a new user sees, through the command line in an empty folder."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.chat_server import chat_server
from tests.cli.conftest import CommandLine
from tests.models.test_gguf_size import WHOLE

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Write

HEAD = "name: x\ntrials: 1\ncanary: false\n"
TESTS = "tests: [{name: t, messages: [{role: user, content: hi}], expect: [{content: Paris}]}]\n"
SCRIPTED = "backends: {s: {kind: scripted, replies: [Paris]}}\n"


def with_server(backend: str, more: str = "") -> str:
    """Return an experiment with a llama-server that is the fake one."""
    server = f"{{kind: llama-server, binary: ./llama-server, context: 1024, {backend}}}"
    return f"{HEAD}backends: {{a: {server}}}\nmodels: {{m: {{gguf: model.gguf}}}}\n{TESTS}{more}"


@pytest.mark.parametrize(
    ("option", "write_instead"),
    [
        ("ngl: 99", "write n-gpu-layers"),
        ("fa: on", "write flash-attn"),
        ("ctk: q8_0", "write cache-type-k"),
        ("ub: 512", "write ubatch-size"),
        ("num_gpu: 3", "write n-gpu-layers"),
        ("n_threads: 3", "write threads"),
        ("LLAMA_ARG_FLASH_ATTN: on", "write flash-attn"),
        ("flash-atn: on", "perhaps you meant «flash-attn»"),
        ("num_ctx: 3", "say it with the backend's `context:`"),
        ("typ-p: 3", "say it under `sampling:`, as typical_p"),
        ("concurrency: 3", "concurrency is a key of the backend: write it beside options"),
    ],
)
@pytest.mark.usefixtures("fake_binary")
def test_an_option_that_a_server_lacks_is_told_before_it_starts(
    cli: CommandLine, write: Write, option: str, write_instead: str
) -> None:
    """`validate` and `execute` refuse it with its place, `plan` notes it and goes on."""
    write(with_server(f"options: {{{option}}}"))
    name = option.partition(":")[0]
    refused = cli("validate", "exp.yaml")
    assert refused.returncode == 2
    assert f"does not know the option «{name}»\n  {write_instead}" in refused.stderr
    assert refused.stderr.startswith("error: exp.yaml:4:85: ")
    assert cli("execute", "exp.yaml").returncode == 2
    planned = cli("plan", "exp.yaml", "--json")
    assert planned.returncode == 0
    (note,) = json.loads(planned.stdout)["notes"]
    assert write_instead in note


@pytest.mark.parametrize("option", ["ngl", "ot", "ctkd", "ncmoe", "md"])
def test_short_names_are_known_without_a_binary(
    cli: CommandLine, write: Write, option: str
) -> None:
    """The table that ships knows them, where there is no help to be asked."""
    write(with_server(f"options: {{{option}: 1}}"))
    refused = cli("validate", "exp.yaml")
    assert f"does not know the option «{option}»\n  write " in refused.stderr


@pytest.mark.parametrize(
    ("dashes", "right"), [("-ngl", "n-gpu-layers"), ("-fa", "flash-attn"), ("--metrics", "metrics")]
)
def test_dashes_are_left_out_and_short_names_written_out(
    cli: CommandLine, write: Write, dashes: str, right: str
) -> None:
    """One correction, not two."""
    write(with_server(f"options: {{{dashes}: 99}}"))
    assert f"found «{dashes}»\n  write {right}\n" in cli("validate", "exp.yaml").stderr


@pytest.mark.usefixtures("fake_binary")
def test_files_that_are_not_there_are_told_by_validate_and_noted_by_plan(
    cli: CommandLine, write: Write
) -> None:
    """A model, a binary of several, a program with a path; a name on PATH may be there later."""
    write(
        f"{HEAD}backends:\n"
        f"  a: {{kind: llama-server, binary: {{here: ./llama-server, new: builds/new}}}}\n"
        "  b: {kind: command, argv: [./serve, '{{ port }}']}\n"
        "  c: {kind: command, argv: [no-such-program, '{{ port }}']}\n"
        f"models: {{m: {{gguf: gone.gguf, id: m}}}}\n{TESTS}"
    )
    done = cli("validate", "exp.yaml")
    assert done.returncode == 2
    for place, said in (
        ("5:63", "/builds/new: there is no such file"),
        ("6:29", "/serve: there is no such program"),
        ("8:20", "/gone.gguf: there is no such file"),
    ):
        assert f"exp.yaml:{place}: " in done.stderr
        assert said in done.stderr
    assert "warning: exp.yaml:7:29: no program «no-such-program» was found" in done.stdout
    planned = cli("plan", "exp.yaml")
    assert planned.returncode == 0
    assert planned.stdout.count("note: ") == 4


def test_a_model_that_was_cut_off_never_reaches_a_server(
    cli: CommandLine, write: Write, fake_binary: Path
) -> None:
    """Both sizes are told by doctor, validate, plan and execute, which starts nothing."""
    (fake_binary.parent / "model.gguf").write_bytes(WHOLE[:-9])
    write(with_server(""))
    said = (
        f"the file is cut off: its header says {len(WHOLE):,} bytes, there are {len(WHOLE) - 9:,}"
    )
    for command, code in (("validate", 2), ("doctor", 4), ("plan", 0), ("execute", 4)):
        done = cli(command, "exp.yaml")
        assert done.returncode == code
        assert said in " ".join((done.stdout + done.stderr).split())
    assert not list(cli.folder.rglob("*.log"))


@pytest.mark.usefixtures("fake_binary")
def test_a_chat_template_is_parsed_before_a_server_starts(cli: CommandLine, write: Write) -> None:
    """One line, that of the template, instead of two dumps of a log."""
    write("{% for m in messages %}\n{{ m.content }\n{% endfor %}\n", "bad.jinja")
    write(with_server("", "chat_templates: {t: {file: bad.jinja}}\n"))
    said = "bad.jinja:2: unexpected '}': {{ m.content }"
    for command in ("validate", "execute"):
        done = cli(command, "exp.yaml")
        assert done.returncode == 2
        assert "error: exp.yaml:7:22: the chat template " in done.stderr
        assert said in done.stderr
    assert not list(cli.folder.rglob("*.log"))
    planned = cli("plan", "exp.yaml", "--json")
    assert planned.returncode == 0
    assert said in json.loads(planned.stdout)["notes"][0]


@pytest.mark.usefixtures("fake_binary")
def test_a_template_that_another_jinja_may_take_is_a_warning(
    cli: CommandLine, write: Write
) -> None:
    """A filter that jinja2 lacks stops nobody."""
    write("{{ messages | frobnicate }}", "odd.jinja")
    write(with_server("", "chat_templates: {t: {file: odd.jinja}}\n"))
    done = cli("validate", "exp.yaml")
    assert done.returncode == 0
    assert "odd.jinja:1: no filter is called «frobnicate»" in done.stdout
    assert done.stdout.endswith("exp.yaml: fine (1 test, 1 warning)\n")


def test_what_is_hardly_meant_is_a_warning(cli: CommandLine, write: Write) -> None:
    """`validate` warns, `plan` notes, `execute` says it before it begins; nothing is refused."""
    write(
        f"{HEAD}backends: {{s: {{kind: scripted, replies: [a]}}, "
        "l: {kind: llama-server, context: 64, binary: ./x}}\n"
        "models: {m: {}}\nmax_tokens: 512\n"
        "tests: [{name: t, messages: [{role: usr, content: hi}, {role: ai, content: x}], "
        "expect: []}]\n"
    )
    done = cli("validate", "exp.yaml")
    assert done.returncode == 0
    for said in (
        "exp.yaml:4:71: the backend «l» has context: 64 (llama-server rounds it up to 256), which",
        "which cannot hold max_tokens: 512 beside the prompt",
        "exp.yaml:7:37: unknown role «usr»\n  perhaps you meant «user»",
        "unknown role «ai»\n  write role: assistant",
        "«t» expects nothing: every reply passes",
    ):
        assert said in done.stdout
    assert done.stdout.endswith("exp.yaml: fine (1 test, 4 warnings)\n")
    planned = cli("plan", "exp.yaml", "--json")
    assert len(json.loads(planned.stdout)["notes"]) == 4
    ran = cli("execute", "exp.yaml")
    assert ran.returncode == 0
    assert "warning: exp.yaml:7:37: unknown role «usr»; perhaps you meant «user»" in ran.stderr


FILLED = """\
name: x
trials: 1
canary: false
backends: {{e: {{kind: endpoint, url: "{url}/v1", context: 64}}}}
models: {{m: {{id: m}}}}
max_tokens: 60
tests: [{{name: t, messages: [{{role: user, content: hi}}], expect: [{{content: zzz}}]}}]
"""


def test_a_reply_that_fills_the_context_has_a_kind_of_its_own(
    cli: CommandLine, write: Write
) -> None:
    """An endpoint whose reply fills the context that the file says."""
    message = {"role": "assistant", "content": "Once upon"}
    usage = {"prompt_tokens": 40, "completion_tokens": 24}
    said = {"choices": [{"message": message, "finish_reason": "length"}], "usage": usage}
    with chat_server(reply=said) as (root, _):
        write(FILLED.format(url=root))
        assert cli("execute", "exp.yaml").returncode == 0
        tried = cli("try", "exp.yaml")
    shown = cli("show", "exp.yaml")
    for done in (shown, tried):
        assert "context_full" in done.stdout
        assert "filled the context of 64 tokens" in done.stdout
    stored = sqlite3.connect(cli.folder / ".matrixbench" / "results.db")
    assert stored.execute("SELECT kind FROM verdict").fetchall() == [("context_full",)]
    stored.close()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ("plan", "exp.yaml", "--where", "test=capitl"),
            3,
            "no cell is selected: test has no value «capitl»\n  perhaps you meant «capital»; the ",
        ),
        (("execute", "exp.yaml", "--resume", "--where", "test=capitl"), 3, "«capital»"),
        (("show", "exp.yaml", "--where", "test=capitl"), 3, "«capital»"),
        (("show", "x", "--where", "test=capitl"), 3, "«capital»"),
        (("export", "exp.yaml", "--where", "backend=ss", "-o", "o.csv"), 3, "backend has no value"),
        (("try", "exp.yaml", "--test", "*", "--where", "test=capitl"), 3, "«capital»"),
        (("plan", "exp.yaml", "--where", "temprature<=1"), 2, "temperature does not vary here"),
        (("plan", "exp.yaml", "--where", "top_p<=1"), 2, "top_p does not vary here"),
        (
            ("chart", "exp.yaml", "--metric", "latency"),
            2,
            "metrics, the nearest first: latency_p50_s, latency_p90_s",
        ),
        (("compare", "exp.yaml", "--baseline", "test=capitl"), 2, "perhaps you meant «capital»"),
        (("compare", "exp.yaml", "--baseline", "tst=capital"), 2, "perhaps you meant «test»"),
        (("rank", "exp.yaml", "--by", "modl"), 2, "perhaps you meant «model»"),
    ],
)
def test_choosing_what_is_not_there(
    cli: CommandLine, write: Write, words: tuple[str, ...], code: int, said: str
) -> None:
    """The values that there are, the nearest first; an axis that does not vary; metrics."""
    second = TESTS.replace("tests: [", "").replace("name: t", "name: opposite")
    tests = TESTS.replace("name: t", "name: capital").replace("}]\n", f"}}, {second}")
    write(f"{HEAD}{SCRIPTED}{tests}")
    if words[0] not in {"plan", "execute"}:
        assert cli("execute", "exp.yaml").returncode == 0
    done = cli(*words)
    assert done.returncode == code, done.stderr
    assert said in done.stderr


def test_rejected_trials_are_told_with_the_line_that_opens_them(
    cli: CommandLine, write: Write
) -> None:
    """The most frequent reasons, numbers in them aside, and a `show` that works as it stands."""
    refused = "{error: rejected, content: 'the prompt has 17 tokens'}"
    other = "{error: rejected, content: 'the prompt has 18 tokens'}"
    replies = f"[[{refused}], [{other}], [Paris]]"
    backends = f"backends: {{s: {{kind: scripted, replies: {replies}}}}}\n"
    write(f"{HEAD}{backends}{TESTS}".replace("trials: 1", "trials: 6"))
    done = cli("execute", "exp.yaml", "--store", "r.db", "--where", "test=t")
    assert done.returncode == 0
    assert "rejected: 4 trials, " in done.stdout
    line = next(line for line in done.stderr.splitlines() if line.startswith("to look at them: "))
    command = line.removeprefix("to look at them: ")
    assert command == (
        "matrixbench show exp.yaml --where test=t --store r.db --outcome rejected --distinct"
    )
    shown = cli(*command.split()[1:])
    assert shown.returncode == 0
    assert "rejected" in shown.stdout


def test_the_version_and_h(cli: CommandLine) -> None:
    """`--version` and `-h` are there, the latter for each command."""
    assert cli("--version").stdout.startswith("matrixbench ")
    whole = cli("--help").stdout
    assert cli("-h").stdout == whole
    assert "--version" in whole
    assert cli("plan", "-h").stdout == cli("plan", "--help").stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(cli: CommandLine, shell: str) -> None:
    """The script for a shell is printed, and what it asks for comes back."""
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    script = CommandLine(folder=cli.folder, env=named).process("--show-completion", shell)
    assert script.returncode == 0, script.stderr
    assert "_MATRIXBENCH_COMPLETE=complete_" in script.stdout


def test_what_a_shell_asks_for_is_completed(cli: CommandLine) -> None:
    """The beginning of a command, and of an option."""
    for typed, words in (("va", {"validate"}), ("plan --wh", {"--where"})):
        line = f"matrixbench {typed}"
        asked = {
            "_MATRIXBENCH_COMPLETE": "complete_bash",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(line.split()) - 1),
        }
        done = CommandLine(folder=cli.folder, env=asked).process()
        assert set(done.stdout.split()) == words
