"""Which llama-server is meant, what it can do, and how the embedded one is installed."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from matrixbench.backends.llama.embedded_flags import help_text
from matrixbench.backends.process import server_environment
from matrixbench.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

NAME = "matrixbench"
LOCAL = "local"
"""The extra that holds the embedded server."""


def install_line(extra: str = LOCAL) -> str:
    """Return the command that adds an extra to the matrixbench that runs."""
    try:
        installed = distribution(NAME)
    except PackageNotFoundError:
        installed = None
    return line_for(extra, installed, Path(__file__).parents[3])


def line_for(extra: str, installed: Distribution | None, tree: Path) -> str:
    """Return the command that adds an extra to an installation.

    Args:
        installed: What the installer wrote down; None where the code runs without being installed.
        tree: The folder that holds the running package: a checkout, or where packages are.
    """
    words = _source(extra, installed, tree)
    if not words:
        words = _requirements(extra, installed) or [f"{NAME}[{extra}]"]
    return shlex.join([sys.executable, "-m", "pip", "install", *words])


def _source(extra: str, installed: Distribution | None, tree: Path) -> list[str]:
    """Return what to install so that the extra comes with it; empty where its source is gone."""
    if (tree / "pyproject.toml").is_file():
        return ["-e", f"{tree}[{extra}]"]
    origin = _origin(installed)
    url = origin.get("url") if origin is not None else None
    if not isinstance(url, str) or origin is None:
        return [f"{NAME}[{extra}]"]
    parts = urlsplit(url)
    if (vcs := origin.get("vcs_info")) is not None:
        return [f"{NAME}[{extra}] @ {_repository(url, vcs, origin)}"]
    if parts.scheme != "file":
        return [f"{NAME}[{extra}] @ {_without_user(url)}"]
    path = Path(unquote(parts.path))
    if not path.exists():
        return []
    editable = isinstance(of := origin.get("dir_info"), dict) and of.get("editable")
    return [*(["-e"] if editable else []), f"{path}[{extra}]"]


def _origin(installed: Distribution | None) -> dict[str, Any] | None:
    """Return where an installer took the package from; None where it was an index."""
    text = None if installed is None else installed.read_text("direct_url.json")
    try:
        origin = json.loads(text) if text else None
    except ValueError:
        return None
    return origin if isinstance(origin, dict) else None


def _repository(url: str, vcs: dict[str, Any], origin: dict[str, Any]) -> str:
    revision = vcs.get("commit_id") or vcs.get("requested_revision")
    folder = origin.get("subdirectory")
    return (
        f"{vcs.get('vcs', 'git')}+{_without_user(url)}"
        f"{f'@{revision}' if revision else ''}{f'#subdirectory={folder}' if folder else ''}"
    )


def _without_user(url: str) -> str:
    """Return a url without the user and the password that it may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _requirements(extra: str, installed: Distribution | None) -> list[str]:
    """Return what an extra consists of: that can be had though the package's own source is gone."""
    mark = f"extra == '{extra}'"
    found = [] if installed is None else installed.requires or []
    wanted = [line.replace('"', "'") for line in found]
    return [line.partition(";")[0].strip() for line in wanted if mark in line]


BIN_PATH_VARIABLE = "LLAMA_SERVER_BIN_PATH"
ANSWER_TIMEOUT_S = 60.0
"""For `--help` and `--version`; a build on a network share takes its time."""


_LEFT_OPEN = {
    "--help": "which options it knows was not checked",
    "--version": "its version is not known",
}
"""Flag → what nobody knows where it was not asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """A llama-server that can be started.

    Args:
        argv: How its command line begins.
        path: Its file; of the embedded one the interpreter.
        embedded: Whether it is the wheel's server.
        found_by: What led to it: `binary`, `$LLAMA_SERVER_BIN_PATH`, `PATH` or `embedded`.
        env: The environment in which it is asked for its help and its version.
        closed: Where it may not be asked: is told what is left open for it.
    """

    argv: tuple[str, ...]
    path: Path
    embedded: bool = False
    found_by: str
    env: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    closed: Callable[[str], None] | None = field(default=None, repr=False, compare=False)

    def answer(self, flag: str) -> str:
        """Return what it prints for a flag such as `--version`, both streams together.

        Raises:
            ServerError: It may not be run, cannot be executed, fails, or takes longer than a
                minute.
        """
        if self.closed is not None:
            self.closed(f"{self.path} was not run: {_LEFT_OPEN[flag]}")
            raise ServerError("it is not trusted, and was not run", where=str(self.path))
        try:
            done = subprocess.run(
                [*self.argv, flag],
                env=dict(self.env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=ANSWER_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "output", None) or b""
            raise ServerError(
                f"{flag} fails: {error}",
                where=str(self.path),
                hint=output.decode(errors="replace").strip()[-500:]
                or "Is it a llama-server for this machine?",
            ) from error
        return done.stdout.decode(errors="replace")


def find_executable(
    named: str | None, env: Mapping[str, str], *, environ: Mapping[str, str]
) -> Executable:
    """Return the llama-server to use, nothing started and nothing imported.

    In this order: the one that the file names, `$LLAMA_SERVER_BIN_PATH`, `llama-server` on PATH,
    the embedded one.

    Args:
        named: The path that the file names, or None.
        env: The variables that the file gives the server.

    Raises:
        ServerError: There is none, or the one that was named cannot be executed.
    """
    env = server_environment(environ, env)
    if named is not None:
        return _checked(named, "binary", env)
    if from_variable := environ.get(BIN_PATH_VARIABLE):
        return _checked(from_variable, f"${BIN_PATH_VARIABLE}", env)
    if on_path := shutil.which("llama-server", path=environ.get("PATH", "")):
        return _checked(on_path, "PATH", env)
    if importlib.util.find_spec("xllamacpp") is not None:
        argv = (sys.executable, *_safe_path(), "-m", "matrixbench.backends.llama.embedded")
        return Executable(
            argv=argv, path=Path(sys.executable), embedded=True, found_by="embedded", env=env
        )
    raise ServerError(
        "no llama-server was found: the backend names no `binary`, "
        f"${BIN_PATH_VARIABLE} is not set, PATH has no `llama-server`, "
        "and the embedded server is not installed",
        hint=f"Install the embedded one with: {install_line()}",
    )


def _safe_path() -> tuple[str, ...]:
    """Return what keeps Python from importing from the present folder, unless that is our own.

    A file `random.py` in a folder with experiments is no part of the server.
    """
    return () if Path(__file__).parents[3] == Path.cwd() else ("-P",)


def _checked(name: str, found_by: str, env: Mapping[str, str]) -> Executable:
    path = Path(name).expanduser()
    if not path.is_absolute():
        path = Path.cwd() / path
    problem = ""
    if not path.exists():
        problem = "there is no such file"
    elif path.is_dir():
        problem = "this is a folder, not an executable"
    elif not os.access(path, os.X_OK):
        problem = "the file is not executable"
    if problem:
        hint = "`binary` names llama-server's executable."
        if found_by != "binary":
            hint = f"{found_by} names it; set `binary` in the backend, or correct the variable."
        raise ServerError(problem, where=str(path), hint=hint)
    return Executable(argv=(str(path),), path=path, found_by=found_by, env=env)


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpEntry:
    """What the help says of a flag: whether it takes a value, and its text on one line.

    `value` is what its value is called, such as `FNAME`; empty for a flag that takes none.
    """

    takes_value: bool
    text: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerHelp:
    """What a build's `--help` says.

    Args:
        flags: Every spelling, dashes included → what is said of it.
        templates: The chat templates that it lists by name.
    """

    flags: Mapping[str, HelpEntry]
    templates: frozenset[str]

    @property
    def long_names(self) -> Mapping[str, str]:
        """Short name → the long one that its row of the help ends in, both without dashes.

        Where a row names an option and its opposite, `-cb, --cont-batching, -nocb,
        --no-cont-batching`, each short name goes with the long ones after it.
        """
        rows: dict[int, list[str]] = {}
        for flag, entry in self.flags.items():
            rows.setdefault(id(entry), []).append(flag)
        return {short: long for row in rows.values() for short, long in _short_to_long(row)}

    @property
    def known_flags(self) -> frozenset[str]:
        """Every spelling of every flag, dashes included."""
        return frozenset(self.flags)


def _short_to_long(row: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each short name of a row of the help with the long one that it goes with."""
    longs = [name[2:] for name in row if name.startswith("--")]
    for index, name in enumerate(row):
        if name.startswith("--") or not longs:
            continue
        after = dropwhile(lambda other: not other.startswith("--"), row[index + 1 :])
        own = [other[2:] for other in takewhile(lambda other: other.startswith("--"), after)]
        yield name[1:], (own or longs)[-1]


_HEAD = re.compile(
    r"(?P<names>--?[A-Za-z][\w-]*(?:, *--?[A-Za-z][\w-]*)*)(?P<value> \S.*?)?(?:  .*)?$"
)
_TEXT_COLUMN = 40
_LIST = "list of built-in templates:"


def parse_help(text: str) -> ServerHelp:
    """Read `llama-server --help`: flags begin a line, what they do stands from column 40.

    A flag whose spellings reach beyond the column has its text on the next lines.
    """
    flags: dict[str, HelpEntry] = {}
    templates: set[str] = set()
    for head, words in _entries(text):
        match = _HEAD.match(head)
        if match is None:
            continue
        value = match["value"]
        entry = HelpEntry(takes_value=value is not None, text=words, value=(value or "").strip())
        flags |= {name.strip(): entry for name in match["names"].split(",")}
        if "--chat-template" in match["names"] and _LIST in words:
            listed = words.split(_LIST, 1)[1].split("(env:")[0]
            templates |= {name.strip() for name in listed.split(",") if name.strip()}
    return ServerHelp(flags=flags, templates=frozenset(templates))


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield the part before the column and the text of every flag."""
    head, words = "", list[str]()
    for line in text.splitlines():
        if line.startswith("-") and not line.startswith("---"):
            if head:
                yield head, " ".join(words)
            starts_text = len(line) > _TEXT_COLUMN and line[_TEXT_COLUMN - 1] == " "
            head = line[:_TEXT_COLUMN].rstrip() if starts_text else line.rstrip()
            words = [line[_TEXT_COLUMN:].strip()] if starts_text else []
        elif line.startswith(" "):
            words.append(line.strip())
    if head:
        yield head, " ".join(words)


def embedded_help() -> ServerHelp:
    """Return what the embedded server knows, without starting it."""
    return parse_help(help_text())
