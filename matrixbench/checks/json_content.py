"""The check that a reply's text is JSON: `json`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from matrixbench.checks.excerpt import EXPECTED_CHARS, one_line, shown
from matrixbench.checks.json_schema import compile_schema
from matrixbench.checks.json_text import read_json
from matrixbench.checks.matchers import as_matcher, compile_matcher
from matrixbench.checks.verdicts import no, yes
from matrixbench.errors import CheckError
from matrixbench.records import Kind
from matrixbench.spec.value_paths import Missing, PathProblem, look_up, parse_path, write_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.checks.matchers import Match
    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, Verdict
    from matrixbench.spec.checks import JsonContent
    from matrixbench.spec.value_paths import Step

JSON = "json"

_FENCED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^`\n]*\n(?P<body>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t\r]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
"""A fenced code block as in CommonMark: it is closed by a fence at least as long, or by the end."""


def compile_json(expected: JsonContent | None, *, where: str = "") -> Rule:
    """Return the rule that a reply's content is JSON, and meets a schema and holds some values.

    Where paths are given, the score is the share of them that match, the schema counted as one.

    Raises:
        CheckError: The schema is no JSON Schema, a path is no path, or a matcher is wrong.
    """
    schema = None if expected is None else expected.schema_
    fenced = expected is not None and expected.fenced
    complaint = None if schema is None else compile_schema(schema, where)
    paths = () if expected is None else _compile_paths(expected.paths, where)
    parts = len(paths) + (complaint is not None)
    passed = yes(JSON, 1.0 if paths else None)

    def rule(reply: ChatReply) -> Verdict:
        none = 0.0 if paths else None
        if not reply.content or not isinstance(reply.content, str):
            found = f"expected JSON, found {shown(reply.content)}"
            return no(JSON, Kind.NO_CONTENT, found, none)
        text = fenced_text(reply.content) if fenced else reply.content
        try:
            value = read_json(text, constants=False)
        except ValueError as error:
            return no(JSON, Kind.NOT_JSON, f"expected JSON, found {shown(text)}: {error}", none)
        said = None if complaint is None else complaint(value)
        mismatches = [reason for path in paths if (reason := path(value)) is not None]
        if said is None and not mismatches:
            return passed
        wrong = len(mismatches) + (said is not None)
        score = 1 - wrong / parts if paths else None
        if said is not None:
            return no(JSON, Kind.SCHEMA_MISMATCH, said, score)
        more = f" (and {len(mismatches) - 1} more)" if len(mismatches) > 1 else ""
        return no(JSON, Kind.PATH_MISMATCH, f"{mismatches[0]}{more}", score)

    return rule


def _compile_paths(paths: Mapping[str, Any], where: str) -> tuple[Match, ...]:
    compiled = []
    for path, wanted in paths.items():
        place = f"{where}.paths.{path}"
        try:
            steps = parse_path(path)
        except PathProblem as problem:
            raise CheckError(f"{path!r}: {problem}", where=place) from problem
        match = compile_matcher(as_matcher(wanted, where=place), where=place)
        compiled.append(_at_path(steps, match))
    return tuple(compiled)


def _at_path(steps: Sequence[Step], match: Match) -> Match:
    name = one_line(write_path(steps), EXPECTED_CHARS)

    def matches(value: Any) -> str | None:  # noqa: ANN401  any JSON value
        found = look_up(value, steps)
        if isinstance(found, Missing):
            there = f"{one_line(write_path(found.at), 24)} is " if found.at else ""
            return f"{name}: expected a value, found none: {there}{shown(found.found, 40)}"
        reason = match(found)
        return None if reason is None else f"{name}: {reason}"

    return matches


def fenced_text(content: str) -> str:
    """Return the inside of the first fenced code block, or the whole text where there is none."""
    found = _FENCED.search(content)
    return content if found is None else found["body"]
