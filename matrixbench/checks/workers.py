"""The process in which functions of one's own run, so that one that never ends can be ended.

There is one for all functions. It is started when the first reply is judged by such a function,
lives as long as this process does, and is killed, with all that it started, where a function does
not end in its time; the next reply starts another one. It has the import path and the folder of
this process, and what it prints goes to standard error.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout, suppress
from copy import deepcopy
from dataclasses import replace
from io import StringIO
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from matrixbench.checks.own import OwnFunction, ask, loaded_again, told
from matrixbench.checks.verdicts import UnjudgeableError, yes
from matrixbench.records import Kind, Turn, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply
    from matrixbench.spec.checks import NamedCheck, PythonCheck

LIMIT_S = 10.0
"""How long a function may take for one reply, unless its check says otherwise."""

LOADING_LIMIT_S = 300.0
"""How long its module may take to be imported: large libraries need a minute on a slow disk."""

HURRIED_S = 1.0
"""How long a function may go on once the run was interrupted."""

LOST_AFTER = 3
"""A function that did not end so often, one reply after the other, is not asked again."""

P = ParamSpec("P")
T = TypeVar("T")

_LOOK_EVERY_S = 0.1
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from matrixbench.checks.workers import work; work(int(sys.argv[2]))"
)


def compile_own(check: PythonCheck | NamedCheck, own: OwnFunction) -> Rule:
    """Return the rule that a function of one's own says yes.

    The rule raises `UnjudgeableError` where the function raises, returns something else than it
    may, or does not end in its time.
    """
    limit = LIMIT_S if check.timeout_s is None else check.timeout_s
    passed, late = yes(own.check), 0

    def rule(reply: ChatReply) -> Verdict:
        nonlocal late
        if own.closed:
            raise UnjudgeableError(Kind.CHECK_RAISED, f"{own.name} was not run: {own.closed}")
        if late >= LOST_AFTER:
            reason = f"{own.name} did not end {late} times in a row, and was not asked again"
            raise UnjudgeableError(Kind.CHECK_TIMEOUT, reason)
        try:
            said = _WORKERS.ask(own, check.arguments, check.threshold, reply, limit)
        except UnjudgeableError as error:
            late = late + 1 if error.kind is Kind.CHECK_TIMEOUT else 0
            raise
        late = 0
        return passed if said == passed else said

    return rule


def hurry() -> None:
    """Give a function that runs one second more; for handlers of signals."""
    _WORKERS.hurried_at = _WORKERS.hurried_at or time.monotonic()


def at_ease() -> None:
    """Give functions their time again, once nobody waits for the end of a run."""
    _WORKERS.hurried_at = None


def stop_worker() -> None:
    """End the worker process, if there is one; the next function starts another."""
    _WORKERS.stop()


async def beside(judge: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what judging returns, without holding up what else goes on; in the order of calls."""
    loop = asyncio.get_running_loop()
    async with _QUEUES.setdefault(loop, asyncio.Lock()):
        return await asyncio.to_thread(judge, *args, **kwargs)


class _LostError(Exception):
    """The worker process is gone."""


class _Worker:
    """A worker process, and the functions that it has loaded."""

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        self._loaded: dict[tuple[str, str, str], int] = {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, json.dumps(sys.path), str(theirs.fileno())],
                stdin=subprocess.PIPE,  # it ends when this is closed, whatever it is doing
                stdout=_standard_error(),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is for this process; and all can be killed at once
            )

    def function(self, own: OwnFunction, clock: Callable[[float], float]) -> int:
        """Return the number of a function there, loading it first if need be."""
        key = (own.at, str(own.folder), own.code)
        if key not in self._loaded:
            number = len(self._loaded)
            folder = None if own.folder is None else str(own.folder)
            message = ("load", LOADING_LIMIT_S, number, sys.path, str(Path.cwd()), own.at, folder)
            kind, said = self.answer(message, clock(LOADING_LIMIT_S), clock)
            if kind != "loaded":
                raise UnjudgeableError(Kind.CHECK_RAISED, f"{own.name} {said}")
            if said != own.code:
                reason = f"{own.name} was changed after it was read; it is judged again next time"
                raise UnjudgeableError(Kind.CHECK_RAISED, reason)
            self._loaded[key] = number
        return self._loaded[key]

    def answer(self, message: object, until: float, clock: Callable[[float], float]) -> Any:
        """Return what the process answers to a message.

        Raises:
            TimeoutError: Nothing came in time.
            _LostError: The process ended.
        """
        try:
            self._pipe.send(message)
            while not self._pipe.poll(_LOOK_EVERY_S):
                if time.monotonic() > min(until, clock(until - time.monotonic())):
                    raise TimeoutError
            return json.loads(self._pipe.recv_bytes())
        except (EOFError, ConnectionError) as error:
            raise _LostError from error

    def end(self, *, gently: bool = False) -> int:
        """End the process and what it has started; return its exit status."""
        self._pipe.close()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if gently or self._process.poll() is not None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(HURRIED_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.wait()


class _Workers:
    """The one worker process of this process, which is started again after it was killed."""

    def __init__(self) -> None:
        self.hurried_at: float | None = None
        self._lock = threading.Lock()
        self._worker: _Worker | None = None

    def ask(
        self,
        own: OwnFunction,
        arguments: dict[str, Any],
        threshold: float,
        reply: ChatReply,
        limit: float,
    ) -> Verdict:
        """Return what a function makes of a reply."""
        with self._lock:
            try:
                if self._worker is None:
                    self._worker = _Worker()
                number = self._worker.function(own, self._until)
                message = ("ask", limit, number, own.name, own.check, arguments, threshold)
                try:
                    answer = self._answer(self._worker, (*message, False, reply), limit)
                except RecursionError:
                    deep = _changed(reply, _pieces)
                    answer = self._answer(self._worker, (*message, True, deep), limit)
            except TimeoutError:
                self._end()
                reason = f"{own.name} did not end in {limit:g} s"
                if self.hurried_at is not None:
                    reason = f"{own.name} had not ended when the run was interrupted"
                raise UnjudgeableError(Kind.CHECK_TIMEOUT, reason) from None
            except _LostError:
                reason = f"{own.name} ended its process{_how(self._end())}"
                raise UnjudgeableError(Kind.CHECK_RAISED, reason) from None
            except UnjudgeableError:
                raise
            except BaseException:  # a signal between a question and its answer
                self._end()
                raise
        if answer[0] == "verdict":
            passed, kind, reason, score = answer[1]
            kind = None if kind is None else Kind(kind)
            return Verdict(check=own.check, passed=passed, kind=kind, reason=reason, score=score)
        raise UnjudgeableError(Kind.CHECK_RAISED, answer[1])

    def _answer(self, worker: _Worker, message: object, limit: float) -> Any:
        return worker.answer(message, time.monotonic() + limit, self._until)

    def _until(self, limit: float) -> float:
        """Return when what is begun now, or runs, has to be at its end."""
        end = time.monotonic() + limit
        return end if self.hurried_at is None else min(end, self.hurried_at + HURRIED_S)

    def _end(self, *, gently: bool = False) -> int:
        worker, self._worker = self._worker, None
        return 0 if worker is None else worker.end(gently=gently)

    def stop(self) -> None:
        with self._lock:
            self._end(gently=True)

    def forget(self) -> None:
        """Start anew in a forked process: the worker is the parent's."""
        self.__init__()  # type: ignore[misc]  # whoever held the lock is not in this process


_WORKERS = _Workers()
_QUEUES: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
atexit.register(stop_worker)
os.register_at_fork(after_in_child=_WORKERS.forget)


def _how(status: int) -> str:
    return f" with signal {-status}" if status < 0 else f" with exit status {status}"


def _standard_error() -> int:
    """Return where the worker's output goes; nowhere if this process has no standard error."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2


# A reply that is nested thousands of levels deep cannot be pickled as it is.


def _changed(reply: ChatReply, change: Callable[[Any], Any]) -> ChatReply:
    """Return a reply in which each message of the wire is changed."""
    return replace(
        reply,
        message=change(reply.message),
        earlier=tuple(
            Turn(reply=_changed(turn.reply, change), then=tuple(map(change, turn.then)))
            for turn in reply.earlier
        ),
    )


def _pieces(value: object) -> list[tuple[bool, list[tuple[Any, bool, Any]]]]:
    """Return a JSON value as a flat list of its objects and lists, which refer to each other."""
    nodes: list[Any] = [value]
    pieces = []
    for node in nodes:  # which grows meanwhile
        items = []
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            if isinstance(item, dict | list):
                items.append((key, True, len(nodes)))
                nodes.append(item)
            else:
                items.append((key, False, item))
        pieces.append((isinstance(node, dict), items))
    return pieces


def _whole(pieces: list[tuple[bool, list[tuple[Any, bool, Any]]]]) -> Any:
    nodes: list[Any] = [{} if is_object else [] for is_object, _ in pieces]
    for node, (is_object, items) in zip(nodes, pieces, strict=True):
        values = [(key, nodes[item] if refers else item) for key, refers, item in items]
        node.update(values) if is_object else node.extend(value for _, value in values)
    return nodes[0]


def work(pipe: int) -> NoReturn:
    """Be the worker process: load functions and ask them, until the other side is gone."""
    _end_with_parent()
    connection = Connection(pipe)
    functions: dict[int, Callable[..., object]] = {}
    while True:
        try:
            message = connection.recv()
        except EOFError:
            sys.exit()
        task, limit, *rest = message
        # What never lets go of the interpreter, and whose asker was killed, ends by its processor
        # time. Elapsed time is left to functions, which may set an alarm of their own.
        signal.setitimer(signal.ITIMER_PROF, (limit + HURRIED_S) * (os.cpu_count() or 1))
        answer = _load(functions, *rest) if task == "load" else _ask(functions, *rest)
        signal.setitimer(signal.ITIMER_PROF, 0)
        with suppress(BrokenPipeError):
            connection.send_bytes(json.dumps(answer).encode())


def _end_with_parent() -> None:
    """End this process when its standard input is closed, also while a function runs."""
    parent = os.dup(0)
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)

    def watch() -> None:
        os.read(parent, 1)
        time.sleep(HURRIED_S)  # whoever is idle ends by itself, with its `atexit`
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _load(
    functions: dict[int, Callable[..., object]],
    number: int,
    path: list[str],
    cwd: str,
    at: str,
    folder: str | None,
) -> tuple[str, str]:
    sys.path[:] = path
    try:
        os.chdir(cwd)
        with redirect_stdout(StringIO()):  # it was heard when this process's parent loaded it
            functions[number], code = loaded_again(at, None if folder is None else Path(folder))
    except BaseException as error:  # noqa: BLE001  somebody's code may raise anything
        return "raised", f"could not be loaded again: {told(error)}"
    return "loaded", code


def _ask(
    functions: dict[int, Callable[..., object]],
    number: int,
    name: str,
    check: str,
    arguments: dict[str, Any],
    threshold: float,
    deep: bool,
    reply: ChatReply,
) -> tuple[str, Any]:
    given = _changed(reply, _whole) if deep else reply
    own = OwnFunction(name=name, function=functions[number], source="", check=check)
    try:
        verdict = ask(own, deepcopy(arguments), threshold, given)
    except UnjudgeableError as error:
        return "raised", error.reason
    except BaseException as error:  # noqa: BLE001  somebody's code may raise anything
        return "raised", f"the check raised {type(error).__name__}: {error}"
    return "verdict", (verdict.passed, verdict.kind, verdict.reason, verdict.score)
