"""From pydantic's errors to findings that say where, what was found, and what is allowed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args

from matrixbench.spec.aliases import METRICS, SAMPLING, folded, key_meant, kind_meant
from matrixbench.spec.base import TAG
from matrixbench.spec.charts import Metric
from matrixbench.spec.checks import CHECK_NAMES
from matrixbench.spec.loose_values import in_brackets, loose_values
from matrixbench.spec.matchers import CONDITIONS
from matrixbench.spec.misplaced import BACKENDS, Home, home_of, shifted, together
from matrixbench.spec.nodes import Document, Finding, Loc, Node, Place
from matrixbench.spec.shapes import keys_at, kinds_at, parts_at
from matrixbench.spec.tests import Suite
from matrixbench.spec.whole_forms import check_form, sentence, whole_form
from matrixbench.spec.wording import (
    choose,
    dotted,
    found,
    inside,
    joined,
    listed,
    nearest,
    nearest_first,
    quoted,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from matrixbench.spec.base import Part

MAX_TOLD = 1_000
"""Mistakes that are told one by one."""

SHOWN_WITH_ITS_NAME = 60
"""Characters of a value that is repeated after the right name of its key."""

TURN = "turn"
_KEY = "[key]"
_KEY_VARIABLE = "api_key_env"
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
    higher = shifted(document, model)
    loose = {loc for owner, values in loose_values(document) for loc in (owner, *values)}
    told = list(higher.findings)
    strays: list[tuple[Loc, Home]] = []
    meant: set[Loc] = set()
    missing: list[tuple[Loc, Finding]] = []
    several = error.errors(include_url=False, include_input=False)
    for details in several[:MAX_TOLD]:
        report = _Report(details, document, model, at)
        if higher.covers(report.loc) or report.loc in loose:
            continue
        if details["type"] == "missing":
            missing.append((report.loc, report.missing()))
        elif (home := report.home()) is not None:
            strays.append((report.loc, home))
        else:
            told.append(report.finding())
            if report.meant:
                meant.add((*report.loc[:-1], report.meant))
    told += together(document, strays, inside)
    # A required key that is misspelt, or that stands elsewhere, is one mistake, not two.
    elsewhere = higher.keys | {str(loc[-1]) for loc, _ in strays}
    told += [finding for loc, finding in missing if loc not in meant and loc[-1] not in elsewhere]
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
                return self._no_kind(kinds_at(self.model, self.raw))
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

    def home(self) -> Home | None:
        """Return where an unknown key belongs, if that is another place of the file."""
        key = str(self.loc[-1]) if self.loc else ""
        match self.type:
            case "literal_error" if _KEY in self.raw:
                grid = key in _names(self.context["expected"]) or key in SAMPLING
                return None if grid else home_of("sampling", key)
            case "extra_forbidden":
                allowed = keys_at(self.model, self.raw[:-1])
                parts = [part.__name__ for part in parts_at(self.model, self.raw[:-1])]
                if self._alias(key, allowed) or not parts:
                    return None
                return home_of(parts[0], key)
            case _:
                return None

    def _alias(self, key: str, allowed: Sequence[str]) -> str | None:
        """Return the key of this place that a word is known to stand for."""
        if _KEY in self.raw:
            return SAMPLING.get(key)
        for part in parts_at(self.model, self.raw[:-1]):
            meant = key_meant(part.__name__, key)
            if meant == "slots" and meant not in allowed:
                meant = "concurrency"
            if meant in allowed:
                return meant
        return None

    def _unknown_key(self, allowed: Sequence[str]) -> Finding:
        key = str(self.loc[-1])
        message = f"unknown key {quoted(key)}{inside(self.loc[:-1])}"
        if key in CHECK_NAMES and not set(CHECK_NAMES).isdisjoint(allowed):
            other = dotted(self.loc[:-1])
            return self._at_key(f"two checks in one entry: {other}", "give each its own «- »")
        alias, near = self._alias(key, allowed), nearest(key, allowed)
        self.meant = alias or near
        if alias is not None and (alias != near or alias == _KEY_VARIABLE):
            return self._at_key(message, f"write {alias}{self._renamed(alias)}")
        if "kind" in allowed and (kinds := _kinds_with(key)):
            return self._at_key(message, f"{kinds}; {choose(key, allowed)}")
        hint, meant = choose(key, allowed), f"«{near}»"
        if alias is not None:
            hint = hint.replace(meant, f"{meant}, as {alias}{self._renamed(alias)}", 1)
        return self._at_key(message, hint)

    def _renamed(self, key: str) -> str:
        """Return what stands after the right name of a key, in its whole right form."""
        if key == _KEY_VARIABLE:
            return ": NAME, the name of a variable; the key itself never stands in a file"
        form = whole_form((*self.loc[:-1], key), self.node)
        if form and form != written(self.node):
            return f": {form}"
        text = written(self.node)
        return f": {text}" if len(text) <= SHOWN_WITH_ITS_NAME else ""

    def _no_kind(self, kinds: Sequence[str]) -> Finding:
        keys = frozenset(self.node.entries) if self.node else frozenset()
        fitting = kind_meant("", keys)
        meant = f"; what it says is that of kind: {fitting.kind}" if fitting else ""
        hint = f"one of: {listed(kinds)}{meant}"
        return self._at_key(f"«kind» is missing{inside(self.loc)}", hint)

    def _no_choice(self, allowed: Sequence[str]) -> Finding:
        text = self.node.text if self.node else ""
        hint = choose(text, allowed) if len(allowed) > 1 else ""
        if set(allowed) == set(Metric):
            hint = metric_hint(text)
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
        keys = frozenset(self.node.entries) if self.node else frozenset()
        meant = kind_meant(text, keys)
        hint = choose(text, kinds)
        if meant is not None:
            hint = f"write kind: {meant.kind}, {meant.why} ({meant.page})"
        return Finding(
            place=self.document.place_of(loc),
            message=f"unknown kind{inside(self.loc)}: {found(node)}",
            hint=hint,
        )

    def _wrong_shape(self, tags: Sequence[str]) -> Finding:
        words = [_SHAPES.get(tag, tag) for tag in tags]
        return self._wrong_type(" or ".join(words))

    def _wrong_type(self, expected: str) -> Finding:
        return self._at_value(
            f"{self._path}: expected {expected}, found {found(self.node)}",
            sentence(whole_form(self.loc, self.node)) or _way_out(expected, self.node),
        )

    def _no_check(self) -> Finding:
        entries = self.node.entries if self.node else {}
        if not entries:
            checks = f"one of: {listed(CHECK_NAMES)}"
            message = f"{self._path}: expected a check, found {found(self.node)}"
            is_text = self.node is not None and isinstance(self.node.value, str)
            form = check_form(self.node) if is_text else ""
            return self._at_value(message, f"{sentence(form)}; {checks}" if form else checks)
        key = next((name for name in entries if name != TURN), None)
        if key is None:
            message = f"«{TURN}» without a check{inside(self.loc)}"
            return self._at_key(message, f"say beside it what is checked: {listed(CHECK_NAMES)}")
        form, near = check_form(self.node), choose(key, CHECK_NAMES)
        likely = nearest(key, CHECK_NAMES) is None or key in CONDITIONS
        return Finding(
            place=entries[key].place,
            message=f"unknown check {quoted(key)}{inside(self.loc)}",
            hint=sentence(form) if form and likely else near,
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


def metric_hint(name: str) -> str:
    """Return what metrics there are, those first that a name is likest to."""
    metrics = nearest_first(name, [metric.value for metric in Metric])
    word = nearest(folded(name), METRICS)
    resembling = metrics[0] if nearest(name, metrics) else None
    meant = METRICS.get(folded(name)) or resembling or (word and METRICS[word])
    ordered = f"metrics, the nearest first: {listed(metrics)}"
    if not meant:
        return ordered
    ordered = listed([meant, *(metric for metric in metrics if metric != meant)])
    return f"perhaps you meant «{meant}»; metrics, the nearest first: {ordered}"


def _kinds_with(key: str) -> str:
    """Return which kinds of backend have a key, for one that does not."""
    kinds = [
        kind
        for part in BACKENDS
        if key in part.model_fields
        for kind in get_args(part.model_fields["kind"].annotation)
    ]
    if not kinds:
        return ""
    pages = joined([f"kind: {kind}" for kind in kinds])
    return f"only {pages} {'has' if len(kinds) == 1 else 'have'} it (docs/servers.md)"


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
        case "a list" | "a list or true or false", str() | int() | float() if node is not None:
            return in_brackets(node) or f"write [{written(node)}]"
        case "a text", bool() | int() | float():
            return f'put it in quotes: "{text}"'
        case _, str() if "number" in expected and re.fullmatch(r"[-+]?[0-9.]+", text):
            return f"write it without quotes: {text}"
        case _:
            return ""
