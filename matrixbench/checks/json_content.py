"""The check that a reply's text is JSON: `json`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from matrixbench.checks.excerpt import one_line, shown
from matrixbench.checks.verdicts import no, yes
from matrixbench.errors import CheckError
from matrixbench.records import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from matrixbench.checks.verdicts import Rule
    from matrixbench.records import ChatReply, JsonObject, Verdict
    from matrixbench.spec.checks import JsonContent

JSON = "json"

_FENCED = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[^`\n]*\n(?P<body>.*?)(?:^[ \t]*(?P=fence)[`~]*[ \t\r]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
"""A fenced code block as in CommonMark: it is closed by a fence at least as long, or by the end."""


def compile_json(expected: JsonContent | None, *, where: str = "") -> Rule:
    """Return the rule that a reply's content is JSON, and meets a schema where one is given.

    Raises:
        CheckError: The schema is no JSON Schema.
    """
    schema = None if expected is None else expected.schema_
    fenced = expected is not None and expected.fenced
    complaint = None if schema is None else _compile_schema(schema, where)
    passed = yes(JSON)

    def rule(reply: ChatReply) -> Verdict:
        if not reply.content:
            return no(JSON, Kind.NO_CONTENT, f"expected JSON, found {shown(reply.content)}")
        text = fenced_text(reply.content) if fenced else reply.content
        try:
            value = _STRICT.decode(text)
        except (ValueError, RecursionError) as error:
            reason = f"expected JSON, found {shown(text)}: {error}"
            return no(JSON, Kind.NOT_JSON, reason)
        said = None if complaint is None else complaint(value)
        return passed if said is None else no(JSON, Kind.SCHEMA_MISMATCH, said)

    return rule


def fenced_text(content: str) -> str:
    """Return the inside of the first fenced code block, or the whole text where there is none."""
    found = _FENCED.search(content)
    return content if found is None else found["body"]


def _refuse_constant(name: str) -> Any:  # noqa: ANN401  the decoder's signature; it never returns
    raise ValueError(f"{name} is not JSON")


_STRICT = json.JSONDecoder(parse_constant=_refuse_constant)
"""Python's own decoder takes NaN and Infinity, which other readers of JSON do not."""


def _compile_schema(schema: JsonObject, where: str) -> Callable[[Any], str | None]:
    """Return a function that says where a value breaks the schema, or None."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415  heavy: 0.1 s, few tests need it
    from jsonschema.exceptions import SchemaError, best_match  # noqa: PLC0415  the same
    from referencing.jsonschema import EMPTY_REGISTRY  # noqa: PLC0415  the same

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise CheckError(
            f"this is no JSON Schema: {one_line(error.message)}",
            where=f"{where}.schema{error.json_path[1:]}",
            hint="Schemas are read as JSON Schema, draft 2020-12.",
        ) from error
    # A registry of its own: the default one would fetch what a $ref names from the network.
    validator = Draft202012Validator(schema, registry=EMPTY_REGISTRY)

    def complaint(value: Any) -> str | None:  # noqa: ANN401  any JSON value
        error = best_match(validator.iter_errors(value))
        return None if error is None else f"at {error.json_path}: {error.message}"

    return complaint
