"""Tests: what is asked, and what a good answer looks like."""

# ruff: noqa: RUF012  pydantic copies mutable defaults

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, TypeAlias

from pydantic import Discriminator, Field, Tag

from matrixbench.spec.base import TAG, Part
from matrixbench.spec.checks import Check  # noqa: TC001  pydantic reads it
from matrixbench.spec.conversations import Said, Tool  # noqa: TC001  pydantic reads them
from matrixbench.spec.grid import GridOrGrids  # noqa: TC001  pydantic reads it


class Needs(Part):
    """What a test needs of a server; where it is not there, the test does not apply."""

    context: Annotated[int, Field(ge=1)] | None = None
    """Tokens that one request must be able to use."""


class Test(Part):
    """One test: messages, tools, request fields, and what a good answer looks like."""

    __test__ = False  # for pytest, whose naming rule this class meets by chance

    name: str
    """Its name, unique in the file. With `parameters` it may hold `{{ … }}`."""

    description: str = ""
    """What it probes."""

    tags: list[str] = []
    """Words by which tests are chosen: in a suite's `tags`, in `exclude`, in `--where tag=…`."""

    parameters: GridOrGrids = {}
    """Values for `{{ … }}` (Jinja2, sandboxed) in this test's texts; a list is an axis."""

    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    """The conversation so far, as the chat API takes it."""

    tools: list[Tool] = []
    """The tools on offer, as the chat API takes them, and what they answer."""

    turns: list[Said] = []
    """What is said next, one after the other, each once the model answered without a call."""

    max_turns: Annotated[int, Field(ge=1)] | None = None
    """Replies of the model in a conversation, at most. Default: 8 more than there are `turns`."""

    request: dict[str, Any] = {}
    """Further request fields of this test alone; they win over the file's."""

    needs: Needs = Needs()
    """What the test needs of a server."""

    expect: list[Check]
    """The checks; all must pass."""


class SuiteReference(Part):
    """Tests from a suite: one that ships with matrixbench, a file, or a file in a package."""

    suite: str
    """The suite's name, the path of its file, or `package:path/in/it.yaml` for a file in a Python
    package that is installed."""

    only: list[str] | None = None
    """Take only these tests (globs)."""

    skip: list[str] = []
    """Leave these tests out (globs)."""

    tags: list[str] | None = None
    """Take only tests that have any of these tags (globs)."""

    request: dict[str, Any] = {}
    """Request fields for all of these tests; they win over the tests' own."""


class Suite(Part):
    """A file of tests."""

    name: str
    """The suite's name."""

    description: str = ""
    """What it probes."""

    tests: Annotated[list[Test], Field(min_length=1)]
    """Its tests."""


_SUITE = f"{TAG}suite"
_TEST = f"{TAG}test"


def _misspells_suite(entry: dict[str, Any]) -> bool:
    """Return whether an entry is a suite but for a slip, so that it is told as that one slip."""
    is_test = bool(entry.keys() & Test.model_fields.keys() - SuiteReference.model_fields.keys())
    return not is_test and bool(get_close_matches("suite", entry, n=1))


def entry_kind(value: object) -> str:
    """Return which of the two an entry of `tests:` is."""
    if isinstance(value, dict):
        return _SUITE if "suite" in value or _misspells_suite(value) else _TEST
    return _SUITE if isinstance(value, SuiteReference) else _TEST


TestEntry: TypeAlias = Annotated[
    Annotated[SuiteReference, Tag(_SUITE)] | Annotated[Test, Tag(_TEST)],
    Discriminator(entry_kind),
]
