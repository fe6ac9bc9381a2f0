"""From a test's checks to one judgement of a reply."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

from matrixbench.checks.calls_in_text import call_finder
from matrixbench.checks.compiling import compile_check
from matrixbench.checks.excerpt import one_line
from matrixbench.checks.misplaced import notes_of
from matrixbench.checks.own import load_own
from matrixbench.checks.reasoning import taken_apart
from matrixbench.checks.same import reference_key
from matrixbench.checks.verdicts import FaultError, UnjudgeableError, no
from matrixbench.errors import CheckError
from matrixbench.identity import canonical_json, digest
from matrixbench.records import Judgement, Kind, Outcome, Verdict
from matrixbench.spec.checks import PythonCheck, SameAsCheck, every_check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.checks.calls_in_text import Finder
    from matrixbench.checks.combining import NamedRule
    from matrixbench.checks.own import OwnFunction
    from matrixbench.checks.verdicts import Reference
    from matrixbench.records import ChatReply, JsonObject
    from matrixbench.spec.checks import Check
    from matrixbench.spec.load import TestCase
    from matrixbench.spec.origin import Origin

_CLASSES = re.compile(r"\\\\[bBdDsSwW]")
"""A class of characters in a pattern, as JSON writes it."""

_CLASSES_VERSION = 2
"""The same for patterns with such classes alone: raise it when they take other characters."""

CHECKS_VERSION = 3
"""Part of every checks' digest. Raise it when the same text of a check may now give another
verdict, kind or reason: stored replies are then judged again."""

UNJUDGED = frozenset({Kind.CHECK_RAISED, Kind.NOT_REPORTED, Kind.NO_REFERENCE})
"""Kinds of verdicts that say neither yes nor no: the trial is `errored`."""


def no_reference(_: str) -> NoReturn:
    """Refuse to compare: no other cell's reply is at hand."""
    raise UnjudgeableError(Kind.NO_REFERENCE, "the reply to compare with is not there yet")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """A test's checks, compiled once and used for every reply.

    Args:
        digest: What stands for them by content; replies judged under another are judged again.
        rules: The compiled checks, in the file's order.
        accepted: The judgement of a reply that every check accepts, where none gives a score.
        compares: Key → axes of each other cell whose replies they compare with.
        find: Finds a call that was written into a text.
        marks: The marks of reasoning that are taken apart before the checks see a reply.
    """

    digest: str
    rules: tuple[NamedRule, ...]
    accepted: Judgement
    compares: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    find: Finder = field(default_factory=lambda: call_finder(()), compare=False)
    marks: tuple[str, ...] = ()

    def taking_apart(self, marks: tuple[str, ...]) -> Checks:
        """Return the checks for replies whose content may hold reasoning between such marks.

        They have another digest: a reply is judged again where the marks change.
        """
        if marks == self.marks:
            return self
        meant = digest({"checks": self.digest, "reasoning_in_content": list(marks)})
        return replace(self, digest=meant, marks=marks)

    def judge(self, reply: ChatReply, reference: Reference = no_reference) -> Judgement:
        """Return what all checks make of a reply; never raises.

        Every check runs. The first one that says no names kind and reason. A function of one's own
        that raises makes the trial `errored`, whatever the others say, for then nothing was
        measured; a shipped check that stumbles over a reply says no.
        """
        notes = notes_of(reply, self.marks, self.find)
        seen = taken_apart(reply, self.marks)
        verdicts = tuple(_verdict(named, seen, reference) for named in self.rules)
        refused = [verdict for verdict in verdicts if not verdict.passed]
        if not refused:
            if verdicts == self.accepted.verdicts and not notes:
                return self.accepted
            return Judgement(outcome=Outcome.PASSED, verdicts=verdicts, notes=notes)
        raised = [verdict for verdict in refused if verdict.kind in UNJUDGED]
        first = (raised or refused)[0]
        return Judgement(
            outcome=Outcome.ERRORED if raised else Outcome.FAILED,
            kind=first.kind,
            reason=first.reason,
            verdicts=verdicts,
            notes=notes,
        )


def checks_of(test: TestCase) -> Checks:
    """Return a test's checks, ready to judge; see `compile_checks`."""
    return compile_checks(test.expect, where=test.name, origin=test.origin, tools=test.tools)


def compile_checks(
    expect: Sequence[Check],
    *,
    where: str = "",
    origin: Origin | None = None,
    tools: Sequence[JsonObject] = (),
) -> Checks:
    """Return checks that are ready to judge. Without any check, every reply passes.

    A check in Python runs the code of its module here.

    Args:
        expect: The checks of one test.
        where: The test's place or name, for messages.
        origin: Where the test stands, for checks in Python.
        tools: The tools that the test offers, as they are sent.

    Raises:
        CheckError: A regular expression, a matcher or a schema is wrong, or a check in Python
            cannot be loaded.
    """
    prefix = f"{where}: " if where else ""
    own = _own_functions(expect, prefix, origin)
    find = call_finder(_names_of(tools))
    rules = tuple(
        compile_check(check, f"{prefix}expect[{index}]", own, find)
        for index, check in enumerate(expect)
    )
    passed = tuple(Verdict(check=named.name, passed=True) for named in rules)
    accepted = Judgement(outcome=Outcome.PASSED, verdicts=passed)
    return Checks(
        digest=checks_digest(expect, where=where, own=own),
        rules=rules,
        accepted=accepted,
        find=find,
        compares={
            reference_key(check.same_as): check.same_as
            for _, check in every_check(expect)
            if isinstance(check, SameAsCheck)
        },
    )


def checks_digest(
    expect: Sequence[Check], *, where: str = "", own: Mapping[str, OwnFunction] | None = None
) -> str:
    """Return what stands for some checks by content, without compiling them.

    Raises:
        CheckError: A check holds a number that JSON cannot say.
    """
    content = [check.model_dump(by_alias=True, exclude_unset=True) for check in expect]
    meant: JsonObject = {"version": CHECKS_VERSION, "expect": content}
    if own:
        meant["sources"] = [function.source for function in own.values()]
    try:
        if _CLASSES.search(canonical_json(content)):
            meant["classes"] = _CLASSES_VERSION
        return digest(meant)
    except ValueError as error:
        raise CheckError(
            f"a check holds a value that JSON cannot say: {error}",
            where=where,
            hint="Replies are JSON, so no reply could ever equal it.",
        ) from error


def _names_of(tools: Sequence[JsonObject]) -> list[str]:
    """Return the names of tools in OpenAI's shape."""
    functions = (tool.get("function") for tool in tools)
    names = (function.get("name") for function in functions if isinstance(function, dict))
    return [name for name in names if isinstance(name, str)]


def _own_functions(
    expect: Sequence[Check], prefix: str, origin: Origin | None
) -> dict[str, OwnFunction]:
    found = {}
    for place, check in every_check(expect):
        if isinstance(check, PythonCheck):
            at = f"{place}.python"
            found[f"{prefix}{place}"] = load_own(
                check,
                None if origin is None else origin.folder,
                where=f"{prefix}{at}" if origin is None else str(origin.places.get(at, at)),
            )
    return found


def _verdict(named: NamedRule, reply: ChatReply, reference: Reference) -> Verdict:
    try:
        return named.rule(reply, reference)
    except UnjudgeableError as error:
        kind, reason = error.kind, error.reason
    except FaultError as fault:
        return no(named.name, fault.kind, fault.reason)
    except Exception as error:  # noqa: BLE001  a check's own fault must not count against the model
        kind, reason = Kind.CHECK_RAISED, f"the check raised {type(error).__name__}: {error}"
    return Verdict(check=named.name, passed=False, kind=kind, reason=one_line(reason))
