"""From pydantic's errors to findings that say where, what was found, and what is allowed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from matrixbench.spec.base import TAG
from matrixbench.spec.checks import CHECK_NAMES
from matrixbench.spec.nodes import Document, Finding, Loc, Node, Place
from matrixbench.spec.shapes import keys_at, kinds_at
from matrixbench.spec.tests import Suite
from matrixbench.spec.wording import choose, dotted, found, inside, listed, nearest, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from matrixbench.spec.base import Part

MAX_TOLD = 1_000
"""Mistakes that are told one by one."""

TURN = "turn"
_KEY = "[key]"
_SUITE = Suite.model_fields.keys()
_EXPECTED = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "list_type": "a list",
}
_SHAPES = {"text": "a text", "list": "a list", "mapping": "a mapping"}
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_YAML_1_1_BOOLEANS = frozenset({"yes", "no", "on", "off", "y", "n"})


def findings_of(
    error: ValidationError, document: Document, model: type[Part], *, at: Loc = ()
) -> list[Finding]:
    """Return a finding for each mistake that pydantic reports of a document.

    Args:
        error: What pydantic said when it read the document's data.
        document: Where the data stands.
        model: The model that it was read as.
        at: Where in the document that data stands; the root unless said.
    """
    told: list[Finding] = []
    meant: set[Loc] = set()
    missing: list[tuple[Loc, Finding]] = []
    several = error.errors(include_url=False, include_input=False)
    for details in several[:MAX_TOLD]:
        report = _Report(details, document, model, at)
        if details["type"] == "missing":
            missing.append((report.loc, report.missing()))
            continue
        told.append(report.finding())
        if report.meant:
            meant.add((*report.loc[:-1], report.meant))
    # A misspelt key that is required is one mistake, not two.
    told += [finding for loc, finding in missing if loc not in meant]
    if len(several) > MAX_TOLD:
        place = _Report(several[MAX_TOLD], document, model, at).place
        told.append(Finding(place=place, message=f"… and {len(several) - MAX_TOLD:,} more like it"))
    return told


class _Report:
    """One error of pydantic's, and how it is told."""

    def __init__(
        self, details: ErrorDetails, document: Document, model: type[Part], at: Loc
    ) -> None:
        self.raw = details["loc"]
        self.loc = (*at, *_real_loc(self.raw, model))
        self.type = details["type"]
        self.context: Mapping[str, Any] = details.get("ctx", {})
        self.said = details["msg"]
        self.document = document
        self.model = model
        self.node = document.node_at(self.loc)
        self.meant: str | None = None

    def finding(self) -> Finding:  # noqa: PLR0911  one for each kind of mistake
        """Return what the user is told."""
        match self.type:
            case "extra_forbidden":
                return self._unknown_key(keys_at(self.model, self.raw[:-1]))
            case "literal_error" if _KEY in self.raw:
                return self._unknown_key(_names(self.context["expected"]))
            case "literal_error" | "enum":
                return self._no_choice(_names(self.context["expected"]))
            case "union_tag_invalid" if self.context["discriminator"] == "'kind'":
                return self._unknown_kind(_names(self.context["expected_tags"]))
            case "union_tag_invalid":
                return self._wrong_shape(_names(self.context["expected_tags"]))
            case "union_tag_not_found" if self.context["discriminator"] == "'kind'":
                kinds = listed(kinds_at(self.model, self.raw))
                return self._at_key(f"«kind» is missing{inside(self.loc)}", f"one of: {kinds}")
            case "union_tag_not_found":
                return self._no_check()
            case "too_short":
                return self._at_key(f"{self._path} must not be empty")
            case _ if self.type in _EXPECTED:
                return self._wrong_type(_EXPECTED[self.type])
            case _:
                return self._out_of_bounds()

    def missing(self) -> Finding:
        """Return that a required key is missing."""
        allowed = listed(keys_at(self.model, self.raw[:-1]))
        hint = f"allowed: {allowed}" if allowed else ""
        if self.loc == ("backends",) and self.document.root.entries.keys() <= _SUITE:
            hint = "if this is a suite of tests, look at it with: matrixbench suites FILE"
        return Finding(
            place=self.document.place_of(self.loc[:-1], key=True),
            message=f"«{self.loc[-1]}» is missing{inside(self.loc[:-1])}",
            hint=hint,
        )

    @property
    def place(self) -> Place:
        """Where it is."""
        return self.document.place_of(self.loc, key=True)

    @property
    def _path(self) -> str:
        return dotted(self.loc) or "the file"

    def _at_key(self, message: str, hint: str = "") -> Finding:
        return Finding(place=self.place, message=message, hint=hint)

    def _at_value(self, message: str, hint: str = "") -> Finding:
        return Finding(place=self.document.place_of(self.loc), message=message, hint=hint)

    def _unknown_key(self, allowed: Sequence[str]) -> Finding:
        key = str(self.loc[-1])
        message = f"unknown key {quoted(key)}{inside(self.loc[:-1])}"
        if key in CHECK_NAMES and not set(CHECK_NAMES).isdisjoint(allowed):
            other = dotted(self.loc[:-1])
            return self._at_key(f"two checks in one entry: {other}", "give each its own «- »")
        self.meant = nearest(key, allowed)
        return self._at_key(message, choose(key, allowed))

    def _no_choice(self, allowed: Sequence[str]) -> Finding:
        text = self.node.text if self.node else ""
        hint = choose(text, allowed) if len(allowed) > 1 else ""
        expected = "one of them" if len(allowed) > 1 else allowed[0]
        return self._at_value(
            f"{self._path}: expected {expected}, found {found(self.node)}"
            if len(allowed) == 1
            else f"{self._path}: {found(self.node)} is not allowed",
            hint,
        )

    def _unknown_kind(self, kinds: Sequence[str]) -> Finding:
        loc = (*self.loc, "kind")
        node = self.document.node_at(loc)
        text = node.text if node else ""
        return Finding(
            place=self.document.place_of(loc),
            message=f"unknown kind{inside(self.loc)}: {found(node)}",
            hint=choose(text, kinds),
        )

    def _wrong_shape(self, tags: Sequence[str]) -> Finding:
        words = [_SHAPES.get(tag, tag) for tag in tags]
        return self._wrong_type(" or ".join(words))

    def _wrong_type(self, expected: str) -> Finding:
        return self._at_value(
            f"{self._path}: expected {expected}, found {found(self.node)}",
            _way_out(expected, self.node),
        )

    def _no_check(self) -> Finding:
        entries = self.node.entries if self.node else {}
        if not entries:
            checks = listed(CHECK_NAMES)
            message = f"{self._path}: expected a check, found {found(self.node)}"
            return self._at_value(message, f"one of: {checks}")
        key = next((name for name in entries if name != TURN), None)
        if key is None:
            message = f"«{TURN}» without a check{inside(self.loc)}"
            return self._at_key(message, f"say beside it what is checked: {listed(CHECK_NAMES)}")
        return Finding(
            place=entries[key].place,
            message=f"unknown check {quoted(key)}{inside(self.loc)}",
            hint=choose(key, CHECK_NAMES),
        )

    def _out_of_bounds(self) -> Finding:
        for name, words in _BOUNDS.items():
            if name in self.context:
                message = f"{self._path} must be {words} {self.context[name]}"
                return self._at_value(f"{message}, found {found(self.node)}")
        if "pattern" in self.context:
            message = f"{self._path}: {found(self.node)} does not match {self.context['pattern']}"
            return self._at_value(message)
        return self._at_value(f"{self._path}: {self.said}, found {found(self.node)}")


def _real_loc(raw: Loc, model: type[Part]) -> Loc:
    """Return the way through the file: pydantic's without what it says of unions and keys."""
    steps = [
        step for step in raw if isinstance(step, int) or not (step.startswith(TAG) or step == _KEY)
    ]
    if "backends" in model.model_fields and steps[0] == "backends":
        del steps[2:3]  # the kind
    return tuple(steps)


def _names(expected: str) -> list[str]:
    """Return the names in pydantic's «'a', 'b' or 'c'»."""
    names = re.findall(r"'(?:\\x00)?([^']*)'", expected)
    return names or [expected.lower()]


def _way_out(expected: str, node: Node | None) -> str:  # noqa: PLR0911  one for each way
    value = node.value if node else None
    text = node.text if node else ""
    match expected, value:
        case "true or false", str() if text.lower() in _YAML_1_1_BOOLEANS:
            return "in YAML 1.2 only true and false are booleans"
        case "a mapping", None:
            return "write {} for an empty one"
        case "a list", None:
            return "write [] for an empty one"
        case "a list" | "a list or true or false", str() | int() | float():
            return f"write [{' '.join(text.split())}]"
        case "a text", bool() | int() | float():
            return f'put it in quotes: "{text}"'
        case _, str() if "number" in expected and re.fullmatch(r"[-+]?[0-9.]+", text):
            return f"write it without quotes: {text}"
        case _:
            return ""
