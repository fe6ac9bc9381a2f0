"""Errors that a user can act on: what happened, where, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence


class ExitCode(IntEnum):
    """What the process tells the shell."""

    DONE = 0
    BUG = 1
    USAGE = 2
    NOTHING_SELECTED = 3
    NO_SERVER = 4
    STORE = 5
    CHECK = 6
    PARTIAL = 7
    REGRESSION = 8
    UNDECIDED = 9
    INTERRUPTED = 130


class MatrixbenchError(Exception):
    """An error with its place and the way out.

    Args:
        message: What happened, in one sentence.
        where: The place: `file:line:column`, a path, a url. Empty when there is none.
        hint: What to do next. Empty when nothing can be said.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.BUG

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  {self.hint}" if self.hint else text

    @property
    def messages(self) -> Sequence[str]:
        """What is said of it, each a message of its own."""
        return [str(self)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a file: its place, what was found, what is allowed."""

    message: str
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n  {self.hint}" if self.hint else text

    @property
    def line(self) -> str:
        """All of it on one line, for a note among other things."""
        return "; ".join(part.rstrip(".") for part in str(self).split("\n  "))


PROBLEMS_SHOWN = 20
"""So many problems of one file are printed; one mistake of a script may be made in each line."""


class SpecError(MatrixbenchError):
    """The experiment file is wrong; holds every problem at once, in the file's order."""

    exit_code = ExitCode.USAGE

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        super().__init__(first.message, where=first.where, hint=first.hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(self.messages)

    @property
    def messages(self) -> Sequence[str]:
        """Each problem, the first ones only where there are many, and how many there are."""
        count = len(self.problems)
        told = [str(problem) for problem in self.problems[:PROBLEMS_SHOWN]]
        if count > PROBLEMS_SHOWN:
            return [*told, f"{count:,} problems: these are the first {PROBLEMS_SHOWN}"]
        return [*told, f"{count} problems"] if count > 1 else told


class UsageError(MatrixbenchError):
    """The options of a command are wrong, or contradict what is there."""

    exit_code = ExitCode.USAGE


class NothingSelectedError(MatrixbenchError):
    """The selection left no cell to run or to show."""

    exit_code = ExitCode.NOTHING_SELECTED


class ServerError(MatrixbenchError):
    """A server could not be found, started or used."""

    exit_code = ExitCode.NO_SERVER


class ModelError(MatrixbenchError):
    """A model could not be found, fetched or verified."""

    exit_code = ExitCode.NO_SERVER


class StoreError(MatrixbenchError):
    """The store cannot be opened, read or written."""

    exit_code = ExitCode.STORE


class CheckError(MatrixbenchError):
    """A check could not be loaded."""

    exit_code = ExitCode.CHECK
