"""What a file names is run by nobody who only looks, unless it is trusted; and that is said."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import py_compile
import stat
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import FAKE_SERVER, ROOT, CommandLine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = """
name: demo
trials: 4
backends:
  plain: {kind: scripted, replies: [Paris, London]}
  other: {kind: scripted, replies: [Paris, London], replica: 2}
models: {m: {gguf: model.gguf}}
tests:
  - name: capital
    messages: [{role: user, content: "The capital of France?"}]
    expect: [CHECK]
"""
CHECK = "{content: {contains: Paris}}"
OWN = "{python: own:check}"
MODULE = """
from pathlib import Path
with Path(__file__).with_name("marks").open("a") as file:
    file.write("module\\n")
def check(reply): return reply.content == "ANSWER"
"""
LOOKING = (
    ("validate",),
    ("plan",),
    ("plan", "--cells"),
    ("plan", "--explain", "--json"),
    ("status",),
    ("show",),
    ("show", "--launch"),
    ("show", "--trial", "0", "--where", "backend=plain"),
    ("chart", "-o", "p.json"),
    ("export", "--trials"),
    ("rank", "--by", "backend"),
    ("compare", "--baseline", "backend=other"),
    ("compare", "--baseline", "backend=other", "--gate"),
    ("report", "-o", "report.html"),
    ("watch",),
    ("doctor",),
)


@pytest.fixture
def wary(cli: CommandLine) -> CommandLine:
    """Return the command line that trusts nothing yet, beside what would be run and its results."""
    (cli.folder / "model.gguf").write_bytes(b"GGUF" + bytes(64))
    program(cli.folder / "server", cli.folder)
    folder = cli.folder / "bin"
    folder.mkdir()
    program(folder / "llama-server", cli.folder)
    path = f"{folder}:{os.environ['PATH']}"
    return replace(cli, env={**cli.env, "MATRIXBENCH_TRUST": "", "PATH": path})


def program(path: Path, folder: Path) -> None:
    """Write a llama-server that says in a file when it is run, and what it was given."""
    path.write_text(
        f'#!/bin/sh\necho "ran $1 with [$LEFT]" >> "{folder}/marks"\n'
        f'exec "{sys.executable}" "{FAKE_SERVER}" "$@"\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def marks(run: CommandLine) -> list[str]:
    """Return what was run since this was asked last."""
    file = run.folder / "marks"
    found = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def module(run: CommandLine, answer: str = "Paris") -> None:
    """Write the module of a check."""
    (run.folder / "own.py").write_text(MODULE.replace("ANSWER", answer))


ITEMS = {
    "program": "{kind: llama-server, binary: ./server, context: 64}",
    "builds": "{kind: llama-server, binary: {x: ./server}, options: {flash-attn: 'on'}}",
    "variables": "{kind: llama-server, binary: ./server, env: {LEFT: here}}",
    "ollama": "{kind: ollama, binary: ./server}",
    "command": "{kind: command, argv: [./server, '{{ port }}', '{{ model }}']}",
    "command-line": "{kind: command, argv: [sh, -c, 'echo argv >> marks', '{{ port }}']}",
}
ALL_ITEMS = "\n  ".join([ITEMS["program"], *(f"{name}: {text}" for name, text in ITEMS.items())])


def experiment(run: CommandLine, *, backend: str = "", check: str = CHECK) -> None:
    """Write the file, with one more backend if any."""
    text = BASE.replace("CHECK", check)
    if backend:
        text = text.replace("models:", f"  more: {backend}\nmodels:")
    (run.folder / "exp.yaml").write_text(text)


def test_looking_runs_nothing_that_the_file_names(wary: CommandLine) -> None:
    """Each command ends as it does, and leaves no mark of what the file names."""
    experiment(wary)
    assert wary("execute", "exp.yaml").returncode == 0
    module(wary)
    experiment(wary, backend=ALL_ITEMS, check=OWN)
    for words in LOOKING:
        done = wary(words[0], "exp.yaml", *words[1:])
        assert marks(wary) == [], words
        code = {"watch": 3}.get(words[0], 9 if "--gate" in words else 0)
        assert done.returncode == code, (words, done.stderr)
        assert "Traceback" not in done.stderr
    assert not (wary.folder / "cache" / "trust").exists()
    assert wary("plan", "exp.yaml", "--trust").returncode == 0
    assert {"module", "ran --help with []", "ran --version with []"} <= set(marks(wary))


def test_what_is_left_open_is_said(wary: CommandLine) -> None:
    """The options and the version are not known, and what to do is said once."""
    experiment(wary, backend=ITEMS["builds"])
    done = wary("plan", "exp.yaml")
    assert "server was not run: which options it knows was not checked" in done.stderr
    assert "server was not run: its version is not known" in done.stderr
    assert done.stderr.count("--trust") == 1
    done = wary("doctor", "exp.yaml")
    assert "it was not run: --trust asks it for its version" in done.stdout


def test_a_program_on_path_is_asked_without_the_files_variables(wary: CommandLine) -> None:
    """It is nobody's who wrote the file; what a variable would have it load is."""
    experiment(wary, backend="{kind: llama-server, env: {LEFT: here}}")
    done = wary("validate", "exp.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert marks(wary) == ["ran --help with []"]
    assert wary("doctor", "exp.yaml").returncode == 0
    assert "ran --version with []" in marks(wary)
    assert wary("doctor", "exp.yaml", "--trust").returncode == 0
    (wary.folder / "cache" / "hashes.json").unlink()
    assert wary("validate", "exp.yaml").returncode == 0
    assert marks(wary) == ["ran --help with [here]"]


def test_an_edit_that_adds_nothing_asks_nothing(wary: CommandLine) -> None:
    """The list counts and not the file's text; what is new in it counts."""
    backend = ITEMS["variables"]
    experiment(wary, backend=backend)
    assert "not trusted" in wary("validate", "exp.yaml").stderr
    assert wary("validate", "exp.yaml", "--trust").stderr == ""
    experiment(wary, backend=backend.replace("}}", "}, context: 128}"))
    assert wary("validate", "exp.yaml").stderr == ""
    (wary.folder / "server").write_text((wary.folder / "server").read_text() + "# rebuilt\n")
    assert wary("validate", "exp.yaml").stderr == ""
    marks(wary)
    program(wary.folder / "else", wary.folder)
    (wary.folder / "else").write_text((wary.folder / "else").read_text() + "# another\n")
    experiment(wary, backend=backend.replace("./server", "./else"))
    assert "else was not run" in wary("validate", "exp.yaml").stderr
    assert marks(wary) == []


def test_a_changed_variable_is_not_given_before_it_is_trusted(wary: CommandLine) -> None:
    """A trusted program is asked as if the file set none."""
    backend = ITEMS["variables"]
    experiment(wary, backend=backend)
    assert wary("validate", "exp.yaml", "--trust").returncode == 0
    assert marks(wary) == ["ran --help with [here]"]
    (wary.folder / "cache" / "hashes.json").unlink()
    experiment(wary, backend=backend.replace("here", "there"))
    assert wary("validate", "exp.yaml").returncode == 0
    assert marks(wary) == ["ran --help with []"]


def judged(run: CommandLine) -> None:
    """Run the experiment, its replies judged by the module."""
    module(run)
    experiment(run, check=OWN)
    done = run("execute", "exp.yaml")
    assert done.returncode == 0, done.stderr
    assert f"exp.yaml uses module {run.folder / 'own.py'}" in done.stderr
    assert set(marks(run)) == {"module"}


def test_executing_is_consent_and_a_changed_module_asks_again(wary: CommandLine) -> None:
    """Replies are shown as they were judged, and that they are is said; then by the new module."""
    judged(wary)
    assert "4 passed, 4 failed" in wary("status", "exp.yaml").stdout
    assert set(marks(wary)) == {"module"}
    module(wary, "London")
    done = wary("status", "exp.yaml")
    assert "8 stored replies are shown as earlier checks judged them" in done.stderr
    assert "own.py is not trusted" in done.stderr
    assert marks(wary) == []
    done = wary("status", "exp.yaml", "--trust")
    assert "8 stored replies judged by the present checks, 8 changed" in done.stderr
    assert wary("status", "exp.yaml").stderr == done.stderr
    assert set(marks(wary)) == {"module"}


def test_what_was_judged_by_an_unchanged_module_needs_no_trust(wary: CommandLine) -> None:
    """Somebody else sees the results as they are, and nothing is left open."""
    (wary.folder / "helper.py").write_text("ANSWER = 'Paris'\n")
    judged(wary)
    text = MODULE.replace('"ANSWER"', "ANSWER")
    (wary.folder / "own.py").write_text("from .helper import ANSWER\n" + text)
    assert wary("execute", "exp.yaml", "--resume").returncode == 0
    marks(wary)
    other = replace(wary, env={**wary.env, "MATRIXBENCH_CACHE": str(wary.folder / "another")})
    for command in ("status", "show", "export"):
        done = other(command, "exp.yaml")
        assert (done.returncode, done.stderr) == (0, ""), command
    done = other("compare", "exp.yaml", "--baseline", "backend=other")
    assert "not trusted" not in done.stderr
    assert marks(wary) == []


def test_a_module_beside_the_module_counts(wary: CommandLine) -> None:
    """What it imports relatively is content, too."""
    (wary.folder / "helper.py").write_text("")
    judged(wary)
    (wary.folder / "own.py").write_text("from . import helper\n" + MODULE)
    assert wary("execute", "exp.yaml", "--resume").returncode == 0
    marks(wary)
    (wary.folder / "helper.py").write_text("raise SystemExit\n")
    done = wary("status", "exp.yaml")
    assert "helper.py is not trusted" in done.stderr
    assert marks(wary) == []


def test_bytecode_beside_a_module_is_not_run(wary: CommandLine) -> None:
    """Some says that nobody is to compare it with its source; what a function imports, too."""
    for name in ("helper", "own"):
        module(wary)
        path = wary.folder / f"{name}.py"
        (wary.folder / "own.py").rename(path)
        py_compile.compile(
            str(path),
            importlib.util.cache_from_source(str(path)),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        path.write_text("def check(reply):\n    from . import helper\n    return True\n")
    experiment(wary, check=OWN)
    done = wary("execute", "exp.yaml")
    assert "8 passed" in done.stdout, done.stderr
    assert marks(wary) == []


def test_a_gate_whose_changed_check_cannot_be_judged_is_undecided(wary: CommandLine) -> None:
    """Neither a pass nor a regression stands that earlier checks said."""
    text = BASE.replace("CHECK", OWN).replace("trials: 4", "trials: 60")
    text = text.replace("[Paris, London], replica", "[Paris], replica")
    for replies, code in (("[Paris]", 0), ("[London]", 8)):
        module(wary)
        (wary.folder / "exp.yaml").write_text(text.replace("[Paris, London]", replies))
        gate = ("compare", "exp.yaml", "--baseline", "backend=other", "--gate")
        assert wary("execute", "exp.yaml", "--fresh").returncode == 0
        assert wary(*gate).returncode == code
        (wary.folder / "own.py").write_text((wary.folder / "own.py").read_text() + "# changed\n")
        marks(wary)
        done = wary(*gate)
        assert done.returncode == 9, done.stdout
        assert "earlier checks" in done.stdout
        assert "own.py is not trusted" in done.stdout
        assert marks(wary) == []
        assert wary(*gate, "--trust").returncode == code


def test_the_variable_trusts_and_remembers_nothing(wary: CommandLine) -> None:
    """It holds for as long as it is set."""
    experiment(wary, backend=ITEMS["program"])
    trusting = replace(wary, env={**wary.env, "MATRIXBENCH_TRUST": "1"})
    assert trusting("validate", "exp.yaml").stderr == ""
    assert marks(wary) == ["ran --help with []"]
    assert not (wary.folder / "cache" / "trust").exists()


def test_trust_is_the_users_own_and_of_one_file(wary: CommandLine) -> None:
    """A copy of the file asks anew, and what others may have written says nothing."""
    experiment(wary, backend=ITEMS["program"])
    assert wary("validate", "exp.yaml", "--trust").returncode == 0
    (kept,) = (wary.folder / "cache" / "trust").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == 0o700
    (wary.folder / "cache" / "hashes.json").unlink()
    (wary.folder / "copy.yaml").write_text((wary.folder / "exp.yaml").read_text())
    assert "not trusted" in wary("validate", "copy.yaml").stderr
    kept.chmod(0o666)
    assert "not trusted" in wary("validate", "exp.yaml").stderr
    kept.chmod(0o600)
    for text in ("", "[]", '{"version": 1}', kept.read_text().replace("exp.yaml", "other.yaml")):
        (wary.folder / "saved").write_text(kept.read_text())
        kept.write_text(text)
        assert "not trusted" in wary("validate", "exp.yaml").stderr
        kept.write_text((wary.folder / "saved").read_text())
    assert wary("validate", "exp.yaml").stderr == ""


def test_explain_lists_all_that_the_file_uses(wary: CommandLine) -> None:
    """Programs, modules, urls, variables, and what nobody has to trust; no secret is in it."""
    module(wary)
    backend = "{kind: llama-server, binary: ./server, env: {API_TOKEN: hush, LEFT: here}}"
    experiment(wary, backend=backend, check=OWN)
    file = wary.folder / "exp.yaml"
    file.write_text(
        file.read_text().replace(
            "models:",
            "  asked: {kind: endpoint, url: 'https://u:pw@host.test/${PART}/v1?k=hush'}\n"
            "  keyed: {kind: endpoint, url: 'http://127.0.0.1:9/v1', api_key_env: SOME_KEY}\n"
            "  found: {kind: llama-server}\nmodels:",
        )
    )
    run = replace(wary, env={**wary.env, "PART": "hush"})
    said = run("plan", "exp.yaml", "--explain")
    assert said.returncode == 0, said.stderr
    for line in (
        f"runs {wary.folder / 'server'} (backend more): not trusted yet",
        "sets API_TOKEN (backend more): not trusted yet",
        "sets LEFT=here (backend more): not trusted yet",
        "asks https://host.test (backend asked): not trusted yet",
        "asks http://127.0.0.1:9 (backend keyed): not trusted yet",
        "passes on the variable SOME_KEY (backend keyed): not trusted yet",
        "passes on the variable PART (paths and urls): not trusted yet",
        f"runs {wary.folder / 'bin' / 'llama-server'} (backend found): found by PATH",
        f"loads {wary.folder / 'own.py'} (python: own): not trusted yet",
    ):
        assert line in said.stdout.splitlines(), said.stdout
    uses = json.loads(run("plan", "exp.yaml", "--explain", "--json").stdout)["uses"]
    assert {use["trusted"] for use in uses} == {False, None}
    assert "hush" not in said.stdout + json.dumps(uses)
    assert "uses" not in json.loads(run("plan", "exp.yaml", "--json").stdout)


@contextmanager
def listening() -> Iterator[tuple[int, list[str]]]:
    """Yield a port on which something listens, and what it is asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Authorization')}")
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port, asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("kind", ["endpoint", "ollama"])
def test_doctor_asks_no_server_that_is_not_trusted(wary: CommandLine, kind: str) -> None:
    """A key would go to whoever listens there."""
    with listening() as (port, asked):
        keyed = ", api_key_env: SOME_KEY" if kind == "endpoint" else ""
        experiment(wary, backend=f"{{kind: {kind}, url: 'http://127.0.0.1:{port}'{keyed}}}")
        run = replace(wary, env={**wary.env, "SOME_KEY": "hush"})
        done = run("doctor", "exp.yaml")
        assert "not asked: it is not trusted" in done.stdout
        assert f"not trusted: http://127.0.0.1:{port} was not asked" in done.stderr
        assert asked == []
        run("doctor", "exp.yaml", "--trust")
        assert asked


OTHER_KIND = """
import subprocess
from typing import Literal
from matrixbench.backends.registry import ServerKind, unknown
from matrixbench.spec.trust import program

class OtherBackend(ServerKind):
    kind: Literal["other-kind"]
    script: str

    def uses(self, models, around):
        yield from super().uses(models, around)
        yield program(self.script, at_look=True)

    def identity(self, model, template):
        return {}

    def present(self, launch, origin, around):
        if not around.trust.allows(self.uses((), around)):
            around.trust.leave(f"{self.script} was not asked for its build")
            return unknown(origin, "it was not asked")
        subprocess.run([self.script, "--build"], capture_output=True)
        return unknown(origin, "it does not say")

    def open(self, order, around):
        raise AssertionError("commands that look open nothing")
"""


def test_a_kind_of_another_package_says_what_it_runs(wary: CommandLine) -> None:
    """It is in the list, and asked for trust, like those that are built in."""
    site = wary.folder / "site"
    info = site / "other_kind-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "other_kind.py").write_text(OTHER_KIND)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other-kind\nVersion: 1.0\n")
    entry = "[matrixbench.backends]\nother-kind = other_kind:OtherBackend\n"
    (info / "entry_points.txt").write_text(entry)
    run = replace(wary, env={**wary.env, "PYTHONPATH": f"{ROOT}:{site}"})
    script = wary.folder / "server"
    experiment(run, backend=f"{{kind: other-kind, script: {script}}}")
    done = run.process("plan", "exp.yaml", "--explain")
    assert done.returncode == 0, done.stderr
    assert f"not trusted: {script} was not asked for its build" in done.stderr
    assert f"runs {script} (backend more): not trusted yet" in done.stdout
    assert marks(run) == []
    assert run.process("plan", "exp.yaml", "--trust").returncode == 0
    assert marks(run) == ["ran --build with []"]


def on_terminal(run: CommandLine, answer: str, *words: str) -> tuple[int, str, str]:
    """Run a command whose input and errors are a terminal; return its code, output and errors."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        run.command(*words),
        cwd=run.folder,
        env=run.environment,
        stdin=theirs,
        stderr=theirs,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        os.close(theirs)
        said = b""
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # as Linux says that nobody has it open any more
                break
            if not piece:
                break
            if b"trust it?" in piece and b"trust it?" not in said:
                os.write(ours, answer.encode())
            said += piece
        out, _ = running.communicate()
    os.close(ours)
    return running.returncode, out, said.decode().replace("\r\n", "\n")


def test_a_terminal_is_asked_once(wary: CommandLine) -> None:
    """No goes on without running anything, yes is remembered, and what is new is asked alone."""
    experiment(wary, backend=ITEMS["variables"])
    code, out, errors = on_terminal(wary, "n\n", "validate", "exp.yaml")
    assert (code, "fine" in out) == (0, True)
    assert f"  runs {wary.folder / 'server'} (backend more)\n  sets LEFT=here" in errors
    assert "which options it knows was not checked" in errors
    assert marks(wary) == []
    code, _, errors = on_terminal(wary, "y\n", "validate", "exp.yaml")
    assert (code, marks(wary)) == (0, ["ran --help with [here]"])
    assert on_terminal(wary, "", "plan", "exp.yaml")[2] == ""
    module(wary)
    experiment(wary, backend=ITEMS["variables"], check=OWN)
    code, _, errors = on_terminal(wary, "n\n", "plan", "exp.yaml")
    assert code == 0
    assert "loads" in errors
    assert "runs" not in errors


def test_execute_on_a_terminal_asks_before_anything_runs(wary: CommandLine) -> None:
    """No is exit 2 and leaves no store; yes runs, and the next time nothing is asked."""
    module(wary)
    experiment(wary, check=OWN)
    code, _, errors = on_terminal(wary, "n\n", "execute", "exp.yaml")
    assert (code, marks(wary)) == (2, [])
    assert "nothing was run: the file is not trusted" in errors
    assert not (wary.folder / ".matrixbench").exists()
    assert on_terminal(wary, "y\n", "execute", "exp.yaml")[0] == 0
    code, _, errors = on_terminal(wary, "", "execute", "exp.yaml", "--resume")
    assert code == 0
    assert "trust it?" not in errors
    assert "exp.yaml uses module" in errors


def test_try_is_consent_too(wary: CommandLine) -> None:
    """It runs what the file names, says so first, and remembers."""
    module(wary)
    experiment(wary, check=OWN)
    done = wary("try", "exp.yaml", "--where", "backend=plain")
    assert done.returncode == 0, done.stderr
    assert "exp.yaml uses module" in done.stderr
    assert "not trusted" not in wary("plan", "exp.yaml").stderr


def test_a_file_that_names_nothing_is_asked_nothing(wary: CommandLine) -> None:
    """The file that ships is run as ever."""
    experiment(wary)
    assert wary("execute", "exp.yaml").stderr.startswith("demo: 8 trials to run")
    said = wary("plan", "exp.yaml", "--explain").stdout
    assert "the file uses no program, module, url or variable" in said
    assert not (wary.folder / "cache" / "trust").exists()
