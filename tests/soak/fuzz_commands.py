"""Feeds commands with files that were damaged at random, and looks whether one of them breaks.

    python -m tests.soak.fuzz_commands --seconds 120 --seed 1

Experiment files, `--where` expressions, saved replies, other tools' results and stores are mutated:
lines, tokens, values and bytes. Each command must end with one of its own exit codes; 1 and a
traceback are bugs, and so is a command that does not end. What broke is printed with the number of
its round, which `--seed` and `--first` repeat.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from matrixbench.errors import ExitCode
from tests.cli.in_process import run_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST_S = 60
"""A command that takes longer does not end."""

EXPERIMENT = """
name: demo
trials: 3
backends:
  one: {kind: scripted, replies: [Paris, "London\\ud83d\\ude00", {error: rejected}]}
  two: {kind: scripted, replies: [{tool_calls: [{name: f, arguments: {a: 1}}]}]}
sampling: {temperature: [0, 1], top_p: [null, 0.9]}
request: {user: [a, {b: [1, 2]}]}
limits: {cells: 5000}
charts: {main: {x: test, y: [temperature, backend], metric: success_ratio}}
exclude: [{backend: two, temperature: 0}]
tests:
  - name: capital-{{ city }}
    parameters: {city: [France, Why? No.]}
    tags: [geo]
    messages: [{role: user, content: "The capital of {{ city }}, {{ 1 + 2 }}?"}]
    expect: [{content: {contains: Paris, matches: "P(a|b)+"}}, {completion_tokens: {max: 9}}]
  - name: call
    messages: [{role: system, content: s}, {role: user, content: u}]
    tools: [{type: function, function: {name: f, parameters: {type: object}}}]
    expect:
      - any:
          - tool_calls: [{name: f, arguments: {a: {number: {value: 1}}}}]
          - json: {schema: {type: object}}
  - name: talk
    messages: [{role: user, content: u}]
    turns: [{content: again}]
    max_turns: 3
    expect: [{content: {length: {min: 1}}}]
"""

NASTY: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 10**300, -0.0, float("nan"), float("inf"), "", " ", "\0", "\x1b[31m",
    "\ud800", "\u202e", "😀", "é", "=1+1", "{{", "{{ 1e999 + 1 }}", "{{ 1/0 }}", "{% for x in y %}",
    "{{ city * 99999999 }}", "{{ range(9) }}", "((((", "(a+)+$", "[", "\\", "null", "~", "1_0",
    "../../x", "/dev/null", "/", ".", "a" * 5000, [], {}, [[]], [None], {"": None}, {"value": 1},
    {"file": "x"}, {"$ref": "#"}, [1, "1", True], "no", "NO", "1:30", "2024-01-01", "&a", "!!x",
)  # fmt: skip

WORDS = (
    "temperature", "test", "backend", "tag", "suite", "build", "nothing", "and", "or", "not", "in",
    "(", ")", ",", "=", "!=", "<=", ">", "=~", "!~", "1", "0.5", "1e999", "nan", "null", "true",
    "'x", '"(a+)+$"', '"["', "*", "[", "\\", "parameters.city", "request.user", "é", "\x1b", "[1",
    "capital*", "France", "🦙",
)  # fmt: skip

REPLIES: tuple[Any, ...] = (
    {"choices": [{"message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}],
     "usage": {"prompt_tokens": 1, "completion_tokens": 2}, "timings": {"prompt_ms": 1.0}},
    {"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
    {"trials": [{"content": "x", "reasoning": None, "tool_calls": [], "turn_limit": False,
                 "finish_reason": "stop", "earlier": [
                     {"content": "x", "reasoning": "y", "tool_calls": [], "then": []}]}]},
    {"error": {"message": "no", "type": "server_error", "code": 500}},
    {"model": "m", "message": {"role": "assistant", "content": "x", "tool_calls": [
        {"function": {"name": "f", "arguments": {"a": 1}}}]}, "eval_count": 3, "done": True},
)  # fmt: skip

LINE = {
    "model": "m", "server_name": "s", "test": "weather", "temp": 1.0, "top_p": None, "top_k": 3,
    "ctk": "q8_0", "ctv": None, "seed": None, "success_ratio": 0.5, "avg_time": 1.0,
    "success_count": 1, "success_times": [1.0], "failure_count": 1, "failure_times": [2.0],
    "failures": ["no call"], "chat_template": None, "model_id": "m",
}  # fmt: skip

_BLAME = re.compile("store is damaged|store holds what")
"""Said of a whole store it would hide a bug."""

Commands = list[tuple[str, ...]]


class DoesNotEndError(BaseException):
    """A command took too long."""


@dataclass(frozen=True, kw_only=True)
class Broken:
    """A command that broke: in which round, its words, its exit code and the end of its errors."""

    round: int
    words: tuple[str, ...]
    code: int
    said: str


class Fuzzer:
    """Damages files in a folder and runs commands on them.

    Args:
        folder: An empty folder.
        seed: Of all that is random.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._random = random.Random(seed)
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "MATRIXBENCH_CACHE": str(folder / "cache"),
        }
        self._whole = folder / "whole.db"
        self.commands = 0

    def prepare(self) -> None:
        """Make a store with results, of which each round damages a copy."""
        self._write("good.yaml", EXPERIMENT)
        self._write("good.jsonl", json.dumps(LINE))
        for words in (("execute", "good.yaml"), ("import", "good.jsonl", "--name", "theirs")):
            done = self._run((*words, "--store", "whole.db"))
            assert done.code in {0, 7}, done.said

    def round(self, number: int) -> Iterator[Broken]:
        """Damage one thing, run the commands that read it, and yield those that broke."""
        self._random = random.Random(f"{self._seed}/{number}")
        kinds: tuple[Callable[[], Commands], ...] = (
            self._experiment,
            self._where,
            self._reply,
            self._lines,
            self._rows,
            self._bytes,
        )
        kind = kinds[number % len(kinds)]
        blameless = kind not in {self._rows, self._bytes}
        for words in kind():
            done = self._run(words)
            self.commands += 1
            wrong = done.code not in set(ExitCode) - {ExitCode.BUG} or "Traceback" in done.said
            if wrong or (blameless and _BLAME.search(done.said)):
                yield Broken(round=number, words=words, code=done.code, said=done.said[-3000:])

    # What is damaged.

    def _experiment(self) -> Commands:
        if self._random.random() < 0.5:
            data = yaml.safe_load(EXPERIMENT.replace("\\ud83d\\ude00", "").replace("? ", " "))
            for _ in range(self._random.choice((1, 1, 1, 2, 4))):
                data = self._changed(data)
            text = json.dumps(data)
        else:
            text = self._changed_text(EXPERIMENT)
        self._write("bad.yaml", text)
        self._copy_store()
        say = ("bad.yaml", "--store", "bad.db")
        return [
            ("validate", "bad.yaml"),
            ("plan", *say, "--json"),
            ("status", *say),
            self._random.choice([("show", *say), ("export", *say), ("rank", *say)]),
            self._random.choice(
                [
                    ("compare", *say, "--baseline", "backend=one"),
                    ("chart", *say, "-o", "p.json"),
                    ("execute", *say, "--resume", "--trials", "2"),
                ]
            ),
        ]

    def _where(self) -> Commands:
        words = [self._random.choice(WORDS) for _ in range(self._random.randint(1, 12))]
        if self._random.random() < 0.1:
            words = [self._random.choice(("(", "not", "not(")) for _ in range(3000)]
        text = self._random.choice((" ", "")).join(words)
        command = self._random.choice(("plan", "show", "status", "rank"))
        say = ("--where", text, "--store", "whole.db")
        return [(command, "good.yaml", *say), ("export", "theirs", *say)]

    def _reply(self) -> Commands:
        data = self._random.choice(REPLIES)
        for _ in range(self._random.randint(1, 4)):
            data = self._changed(data)
        text = json.dumps(data)
        if self._random.random() < 0.3:
            text = self._changed_text(text)
        name = self._random.choice(("r.json", "r", "r.txt"))
        self._write(name, text)
        test = self._random.choice(("call", "talk", "capital-France"))
        json_too = self._random.choice(((), ("--json",)))
        return [("try", "good.yaml", "--test", test, "--reply", name, *json_too)]

    def _lines(self) -> Commands:
        lines = []
        for _ in range(3):
            data: Any = LINE
            for _ in range(self._random.randint(0, 3)):
                data = self._changed(data)
            lines.append(json.dumps(data))
        text = "\n".join(lines)
        self._write("r.jsonl", text if self._random.random() < 0.7 else self._changed_text(text))
        self._folder.joinpath("new.db").unlink(missing_ok=True)
        say = ("r", "--store", "new.db")
        return [
            ("import", "r.jsonl", "--store", "new.db"),
            self._random.choice([("show", *say), ("rank", *say), ("export", *say)]),
            ("chart", *say, "-o", "p.json"),
        ]

    def _rows(self) -> Commands:
        self._copy_store()
        with closing(sqlite3.connect(self._folder / "bad.db")) as store:
            tables = [
                name
                for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type='table'")
            ]
            for _ in range(self._random.randint(1, 3)):
                table = self._random.choice(tables)
                columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
                column = self._random.choice(columns)
                value = self._random.choice(
                    (b"\x80\xff", "", "x", "{}", "[]", "null", "1", -1, 2**62, 1e300, "[{}]", None)
                )
                some = self._random.choice(("1", "random() % 2 = 0"))
                change = self._random.choice(
                    (
                        f"UPDATE {table} SET {column} = ? WHERE {some}",  # noqa: S608
                        f"UPDATE {table} SET {column} = substr({column}, 1, 9) WHERE {some} OR ?",  # noqa: S608
                        f"DELETE FROM {table} WHERE {some} OR ?",  # noqa: S608
                    )
                )
                try:
                    store.execute(change, (value,))
                except sqlite3.Error:
                    continue
            store.commit()
        return self._reading("bad.db")

    def _bytes(self) -> Commands:
        self._copy_store()
        path = self._folder / "bad.db"
        content = bytearray(path.read_bytes())
        for _ in range(self._random.choice((1, 3, 30))):
            at = self._random.randrange(100, len(content))
            content[at : at + 4] = self._random.randbytes(4)
        if self._random.random() < 0.1:
            del content[self._random.randrange(len(content)) :]
        path.write_bytes(content)
        return self._reading("bad.db")

    def _reading(self, store: str) -> Commands:
        say = ("good.yaml", "--store", store)
        theirs = ("theirs", "--store", store)
        several: Commands = [
            ("plan", *say),
            ("status", *say, "--json"),
            ("show", *say),
            ("show", *say, "--distinct", "--json"),
            ("show", *theirs),
            ("rank", *say),
            ("rank", *theirs),
            ("compare", *say, "--baseline", "backend=one"),
            ("export", *say, "--trials"),
            ("export", *theirs),
            ("chart", *say, "-o", "p.json"),
            ("execute", *say, "--resume"),
            ("import", "good.jsonl", "--store", store),
            ("try", *say[:1], "--test", "call"),
        ]
        return self._random.sample(several, 4)

    # How it is damaged.

    def _changed(self, data: Any) -> Any:
        """Return JSON data with one value, key or item changed."""
        data = json.loads(json.dumps(data))
        places = list(_places(data))
        if not places:
            return self._random.choice(NASTY)
        owner, key = self._random.choice(places)
        match self._random.randrange(5):
            case 0:
                del owner[key]
            case 1 if isinstance(owner, dict):
                name = self._random.choice(
                    [str(self._random.choice(NASTY)), f"{key}s", key.upper()]
                )
                owner[name] = owner.pop(key)
            case 2:
                other, theirs = self._random.choice(places)
                owner[key] = json.loads(json.dumps(other[theirs]))
            case 3 if isinstance(owner[key], str):
                owner[key] = self._changed_text(owner[key])
            case _:
                owner[key] = self._random.choice(NASTY)
        return data

    def _changed_text(self, text: str) -> str:
        """Return a text with some pieces cut, doubled, moved, or made strange."""
        for _ in range(self._random.choice((1, 1, 2, 5))):
            at = self._random.randrange(len(text) + 1)
            end = min(len(text), at + self._random.choice((0, 1, 1, 2, 10, 80)))
            sign = self._random.choice("{}[]:,-?&*!|>'\"%@`#\t\n ")
            strange = str(self._random.choice(NASTY))
            any_sign = chr(self._random.randrange(0x110000))
            piece = self._random.choice(["", text[at:end] * 2, strange, sign, any_sign])
            text = text[:at] + piece + text[end:]
        return text

    # How it runs.

    def _copy_store(self) -> None:
        for rest in self._folder.glob("bad.db*"):
            rest.unlink()
        with closing(sqlite3.connect(self._whole)) as whole:
            whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(self._whole, self._folder / "bad.db")

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))

    def _run(self, words: tuple[str, ...]) -> Broken:
        """Run a command and return how it ended."""
        try:
            with _ending():
                done = run_here(words, folder=self._folder, environment=self._environment)
        except DoesNotEndError:
            return Broken(round=0, words=words, code=-1, said=f"does not end in {LONGEST_S} s")
        except UnicodeDecodeError as error:
            return Broken(round=0, words=words, code=-1, said=f"its output is no UTF-8: {error}")
        return Broken(round=0, words=words, code=done.returncode, said=done.stderr)


def _places(data: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every key of every mapping and every place of every list, with whose it is."""
    if isinstance(data, (dict, list)):
        for key in list(data) if isinstance(data, dict) else range(len(data)):
            yield data, key
            yield from _places(data[key])


@contextmanager
def _ending() -> Iterator[None]:
    """Raise in what takes too long."""

    def give_up(_signal: int, _frame: object) -> None:
        raise DoesNotEndError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def fuzz(folder: Path, *, seed: int, seconds: float, first: int = 0) -> tuple[int, list[Broken]]:
    """Damage files for some seconds; return how many commands ran, and those that broke."""
    fuzzer = Fuzzer(folder, seed)
    fuzzer.prepare()
    broken: list[Broken] = []
    end = time.monotonic() + seconds
    number = first
    while time.monotonic() < end or number < first + 6:
        broken += fuzzer.round(number)
        number += 1
    return fuzzer.commands, broken


def main() -> int:
    """Fuzz as long as is asked, and print what broke."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first round")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        count, broken = fuzz(
            Path(folder), seed=asked.seed, seconds=asked.seconds, first=asked.first
        )
    for one in broken:
        told = f"round {one.round}: {one.words!r}\n{one.code}: {one.said}\n\n"
        sys.stdout.write(told.encode("ascii", "backslashreplace").decode())
    sys.stdout.write(f"{count} commands, {len(broken)} broken\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
