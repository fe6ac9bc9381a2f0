"""From pydantic's errors to findings that say where, what was found, and where it belongs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.spec.backends import Backend, kinds
from matrixbench.spec.base import TAG
from matrixbench.spec.checks import CHECK_NAMES, CONDITIONS, Matcher
from matrixbench.spec.experiment import (
    SAMPLING_FIELDS,
    Chart,
    ExperimentFile,
    Limits,
    Metric,
    Timeouts,
)
from matrixbench.spec.models import ChatTemplate, Model
from matrixbench.spec.shapes import (
    check_form,
    in_brackets,
    keys_at,
    kinds_at,
    loose_values,
    parts_at,
    sentence,
    whole_form,
)
from matrixbench.spec.slips import (
    folded,
    key_meant,
    kind_meant,
    long_name,
    request_fields,
    usual_flags,
    words_for,
)
from matrixbench.spec.tests import Needs, Suite, SuiteReference, Test
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
from matrixbench.spec.yaml_source import Document, Finding, Loc, Node, Spot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

    from matrixbench.spec.base import Part

_SAMPLING = frozenset(SAMPLING_FIELDS)


def _keys(*parts: type[Part]) -> frozenset[str]:
    return frozenset(
        info.alias or name for part in parts for name, info in part.model_fields.items()
    )


_FILE, _TEST, _MODEL = _keys(ExperimentFile), _keys(Test), _keys(Model)


@cache
def _named_parts() -> Mapping[str, tuple[type[Part], ...]]:
    """Return the mappings of the file whose values have names → what one value may be."""
    return {
        "backends": tuple(kinds().known.values()),
        "models": (Model,),
        "chat_templates": (ChatTemplate,),
        "charts": (Chart,),
    }


_OWN_NAMES = frozenset({"options", "env", "axes", "parameters", "request", "needs", "ready"})
"""Keys that hold a mapping of names which the file chooses, or of a few keys."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """Where a key belongs.

    Args:
        key: What it is called there.
        under: The key that it stands under; empty at the top level.
        words: How that is said, after «write KEY».
    """

    key: str
    under: str
    words: str


Rule: TypeAlias = "tuple[frozenset[str], str, str]"

_AT_TOP = "at the top level of the file"


@cache
def _rules() -> Mapping[str, tuple[Rule, ...]]:
    """Return part of the file → keys that are looked for in it, and where they belong."""
    backend, request = _keys(*kinds().known.values()), request_fields()
    sampling = (_SAMPLING, "", f"under sampling:, {_AT_TOP}")
    top_request = (request, "", f"under request:, {_AT_TOP}")
    in_backend = ("backends", "under a backend's name: backends: {NAME: {…}}")
    in_model = ("models", "under a model's name: models: {NAME: {…}}")
    in_test = ("tests", "in a test: tests: [{name: …, …}]")
    own_request = ("request", "under the test's request:")
    return {
        "ExperimentFile": (
            (_SAMPLING, "sampling", "under sampling:"),
            (backend - _MODEL, *in_backend),
            (_TEST - _MODEL, *in_test),
            (request, "request", "under request:"),
            (_keys(Timeouts), "timeouts", "under timeouts:"),
            (_keys(Limits), "limits", "under limits:"),
            (_MODEL, *in_model),
            (_keys(Chart), "charts", "under a chart's name: charts: {NAME: {…}}"),
        ),
        "backend": (
            sampling,
            (_MODEL - backend - _FILE, *in_model),
            (_FILE, "", _AT_TOP),
            (_keys(Timeouts), "", f"under timeouts:, {_AT_TOP}"),
            top_request,
            (_TEST - backend, *in_test),
        ),
        "Model": (
            sampling,
            (backend - _MODEL, *in_backend),
            (_FILE - _MODEL, "", _AT_TOP),
            top_request,
        ),
        "Test": (
            (_SAMPLING | request, *own_request),
            (frozenset(CHECK_NAMES), "expect", "in the test's expect:, with a «-» before it"),
            (_keys(Needs), "needs", "under the test's needs:"),
            ((_FILE - _TEST) | {"max_tokens"}, *own_request),
            (
                _keys(Matcher) - _SAMPLING,
                "expect",
                "in the test's expect:, under content: of a check",
            ),
        ),
        "SuiteReference": (
            (_SAMPLING | request | {"max_tokens"}, "request", "under the entry's request:"),
        ),
        "Suite": (
            (_FILE - _keys(Suite), "", "in the experiment's file, not in a suite"),
            (_TEST, *in_test),
        ),
        "sampling": ((_FILE, "", _AT_TOP), top_request),
    }


def home_of(part: type[Part] | None, key: str) -> Home | None:
    """Return where a key belongs that a part of the file does not have; None where it is unknown.

    Args:
        part: The part; None for a grid of sampling fields.
    """
    level = "sampling" if part is None else part.__name__
    if part is not None and issubclass(part, Backend):
        level = "backend"
    if level == "Test" and key in _FILE - _TEST and key not in {"max_tokens", "seed"}:
        return Home(key=key, under="", words=_AT_TOP)
    field = words_for("sampling").get(key, key)
    for keys, under, words in _rules().get(level, ()):
        if key in keys:
            return Home(key=key, under=under, words=words)
        if field in keys and field in _SAMPLING and len(key) > 1:
            return Home(key=field, under=under, words=words)
    return None if part is None else _option(part, level, key)


def _option(part: type[Part], level: str, key: str) -> Home | None:
    """Return that a key is a server's option, where it is one."""
    name: str | None = None
    if issubclass(part, Backend):
        name = part.option_meant(key)
    elif level == "Model":
        name = long_name(key) or key
        name = name if name in usual_flags() or name != key else None
    return None if name is None else Home(key=name, under="options", words="under options:")


class Shifted:
    """What stands one level too high, found by the shape of the file before its types are checked.

    Args:
        document: The file.
        model: What it is read as.

    Attributes:
        findings: One for each place.
        keys: The keys that are there, if not where they belong.
    """

    def __init__(self, document: Document, model: type[Part]) -> None:
        self.findings: list[Finding] = []
        self.keys: set[str] = set()
        self._covered: set[Loc] = set()
        file = Spot(document)
        if model is ExperimentFile:
            keys = {name: _keys(*parts) for name, parts in _named_parts().items()}
            for container, known in keys.items():
                self._named(file[container], known)
            self._indented(file, lambda name, _: name in _FILE, _belongs)
            for container, known in keys.items():
                self._two_levels(file, container, known)
            for container in ("backends", "models"):
                for name in document.root.child_entries(container):
                    self._beside_own_names(file.below(container, name), keys[container])
        for index, test in enumerate(document.root.child_items("tests")):
            at = file.below("tests", index)
            self._beside_own_names(at, _TEST | _keys(SuiteReference))
            self._in_message(at, test)

    def covers(self, loc: Loc) -> bool:
        """Return whether types would be told of a place that is wrong for this reason alone."""
        return any(loc[:length] in self._covered for length in range(1, len(loc) + 1))

    def _indented(
        self,
        at: Spot,
        owns: Callable[[str, str | None], bool],
        belongs: Callable[[str, str, Node], bool],
    ) -> bool:
        """Find keys beside one that has nothing under it, and return whether there are any.

        Args:
            at: Where the mapping is.
            owns: Whether a key may be one that others belong under; asked with the one before.
            belongs: Whether such a key, which has nothing, should have another one and its value.
        """
        owner: str | None = None
        strays: dict[str, list[str]] = {}
        for name, entry in at.node.entries.items() if at.node else ():
            if owns(name, owner):
                owner = name if _is_nothing(entry.node) else None
            elif owner is not None and belongs(owner, name, entry.node):
                strays.setdefault(owner, []).append(name)
        for name, lost in strays.items():
            self._tell(at, lost, f"indent {joined(lost)} under {name}")
            self._covered.add(at[name].loc)
        return bool(strays)

    def _beside_own_names(self, at: Spot, known: frozenset[str]) -> None:
        """Find keys beside a mapping of one's own names that has nothing under it."""
        self._indented(at, lambda name, _: name in known, lambda owner, *_: owner in _OWN_NAMES)

    def _named(self, at: Spot, keys: frozenset[str]) -> None:
        """Find keys of a value right under the container, where its values' names should stand."""
        container = str(at.loc[-1])
        entries = at.node.entries if at.node else {}

        def is_name(name: str, owner: str | None) -> bool:
            # A word for a key may be a name too, but not after a name that has nothing.
            words = map(_word_list, _named_parts()[container] if owner else ())
            return name not in keys and not any(key_meant(part, name) for part in words)

        found = self._indented(at, is_name, lambda *_: True)
        mappings = any(isinstance(entry.node.value, dict) for entry in entries.values())
        if entries and not found and entries.keys() <= keys and not mappings:
            example = f"{container}: {{NAME: {written(at.node)}}}"
            self._tell(at, list(entries), f"give it a name: {example}")

    def _in_message(self, at: Spot, test: Node) -> None:
        """Find what belongs into the message before it: `- role: user`, `content` too far left."""
        messages = test.child_items("messages")
        last = messages[-1].entries if messages else {}
        lost = [name for name in ("role", "content") if name in test.entries and name not in last]
        if lost and last:
            self._tell(
                at, lost, f"indent {joined(lost)} as far as {next(iter(last))}, in the message"
            )

    def _two_levels(self, file: Spot, container: str, keys: frozenset[str]) -> None:
        """Find keys at the top that belong under the name before them, which has nothing."""
        root = file.document.root
        empty = [
            name
            for name, entry in root.child_entries(container).items()
            if _is_nothing(entry.node) and (container, name) not in self._covered
        ]
        missing = keys - _FILE
        lost = [name for name in root.entries if name in missing and (name,) not in self._covered]
        if empty and lost:
            hint = f"indent {joined(lost)} under {empty[-1]}"
            self._tell(file, lost, hint, high="two levels too high")
            self._covered.add((container, empty[-1]))

    def _tell(
        self, at: Spot, lost: Sequence[str], hint: str, *, high: str = "one level too high"
    ) -> None:
        level = f"right under {dotted(at.loc)}" if at.loc else "at the top level"
        stand = "stands" if len(lost) == 1 else "stand"
        message = f"{joined([quoted(name) for name in lost])} {stand} {high}, {level}"
        self.findings.append(at[lost[0]].told(message, hint, key=True))
        self._covered.update(at[name].loc for name in lost)
        self.keys.update(lost)


def _word_list(part: type[Part]) -> str:
    """Return whose words count for a part: all kinds of backends share theirs."""
    return Backend.__name__ if issubclass(part, Backend) else part.__name__


def _is_nothing(node: Node) -> bool:
    """Return whether nothing stands after a key, not even a null."""
    return node.value is None and not node.text


def _belongs(owner: str, name: str, node: Node) -> bool:
    if owner in _named_parts():
        return isinstance(node.value, dict) or (owner == "models" and _is_nothing(node))
    home = home_of(ExperimentFile, name)
    return owner == "request" or (home is not None and home.under == owner)


def together(
    document: Document, strays: Iterable[tuple[Loc, Home]], inside: Callable[[Loc], str]
) -> Iterator[Finding]:
    """Yield one finding for the keys of a mapping that belong to one other place."""
    groups: dict[tuple[Loc, str], list[tuple[Loc, Home]]] = {}
    for loc, home in strays:
        groups.setdefault((loc[:-1], home.words), []).append((loc, home))
    for (at, words), several in groups.items():
        names = joined([quoted(str(loc[-1])) for loc, _ in several])
        keys = joined([home.key for _, home in several])
        message = f"unknown key{'s' if len(several) > 1 else ''} {names}{inside(at)}"
        place = document.place_of(several[0][0], key=True)
        hint = f"write {keys} {words}{_like(document, several)}"
        yield Finding(place=place, message=message, hint=hint)


def _like(document: Document, several: Sequence[tuple[Loc, Home]]) -> str:
    """Return what it looks like there, where it is short."""
    under = several[0][1].under
    if under not in {"sampling", "request", "timeouts", "limits", "options", "needs"}:
        return ""
    inner = ", ".join(f"{home.key}: {written(document.node_at(loc))}" for loc, home in several)
    return f", such as {under}: {{{inner}}}"


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
        model: The model that it was read as.
        at: Where in the document that data stands; the root unless said.
    """
    higher = Shifted(document, model)
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
        first = _Report(several[MAX_TOLD], document, model, at).at
        told.append(first.told(f"… and {len(several) - MAX_TOLD:,} more like it", key=True))
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
        self.at = Spot(document, self.loc)
        self.node = self.at.node
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
                tags = _names(self.context["expected_tags"])
                return self._wrong_type(" or ".join(_SHAPES.get(tag, tag) for tag in tags))
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
        owner = Spot(self.document, self.loc[:-1])
        return owner.told(f"«{self.loc[-1]}» is missing{inside(owner.loc)}", hint, key=True)

    @property
    def _path(self) -> str:
        return dotted(self.loc) or "the file"

    def _at_key(self, message: str, hint: str = "") -> Finding:
        return self.at.told(message, hint, key=True)

    def home(self) -> Home | None:
        """Return where an unknown key belongs, if that is another place of the file."""
        key = str(self.loc[-1]) if self.loc else ""
        match self.type:
            case "literal_error" if _KEY in self.raw:
                grid = key in _names(self.context["expected"]) or key in words_for("sampling")
                return None if grid else home_of(None, key)
            case "extra_forbidden":
                allowed = keys_at(self.model, self.raw[:-1])
                parts = parts_at(self.model, self.raw[:-1])
                if self._alias(key, allowed) or not parts:
                    return None
                return home_of(parts[0], key)
            case _:
                return None

    def _alias(self, key: str, allowed: Sequence[str]) -> str | None:
        """Return the key of this place that a word is known to stand for."""
        if _KEY in self.raw:
            return words_for("sampling").get(key)
        for part in parts_at(self.model, self.raw[:-1]):
            meant = key_meant(_word_list(part), key)
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
        if "kind" in allowed and (having := _kinds_with(key)):
            return self._at_key(message, f"{having}; {choose(key, allowed)}")
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

    def _no_kind(self, names: Sequence[str]) -> Finding:
        keys = frozenset(self.node.entries) if self.node else frozenset()
        fitting = kind_meant("", keys)
        meant = f"; what it says is that of kind: {fitting.kind}" if fitting else ""
        hint = f"one of: {listed(names)}{meant}"
        return self._at_key(f"«kind» is missing{inside(self.loc)}", hint)

    def _no_choice(self, allowed: Sequence[str]) -> Finding:
        text = self.node.text if self.node else ""
        hint = metric_hint(text) if set(allowed) == set(Metric) else choose(text, allowed)
        if len(allowed) == 1:
            return self.at.told(f"{self._path}: expected {allowed[0]}, found {found(self.node)}")
        return self.at.told(f"{self._path}: {found(self.node)} is not allowed", hint)

    def _unknown_kind(self, names: Sequence[str]) -> Finding:
        at = self.at["kind"]
        text = at.node.text if at.node else ""
        keys = frozenset(self.node.entries) if self.node else frozenset()
        meant = kind_meant(text, keys)
        hint = choose(text, names)
        if text in kinds().broken:
            hint = kinds().broken[text]
        elif meant is not None:
            hint = f"write kind: {meant.kind}, {meant.why} ({meant.page})"
        return at.told(f"unknown kind{inside(self.loc)}: {found(at.node)}", hint)

    def _wrong_type(self, expected: str) -> Finding:
        return self.at.told(
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
            return self.at.told(message, f"{sentence(form)}; {checks}" if form else checks)
        key = next((name for name in entries if name != TURN), None)
        if key is None:
            message = f"«{TURN}» without a check{inside(self.loc)}"
            return self._at_key(message, f"say beside it what is checked: {listed(CHECK_NAMES)}")
        form, near = check_form(self.node), choose(key, CHECK_NAMES)
        likely = nearest(key, CHECK_NAMES) is None or key in CONDITIONS
        return entries[key].told(
            f"unknown check {quoted(key)}{inside(self.loc)}",
            sentence(form) if form and likely else near,
        )

    def _out_of_bounds(self) -> Finding:
        for name, words in _BOUNDS.items():
            if name in self.context:
                message = f"{self._path} must be {words} {self.context[name]}"
                return self.at.told(f"{message}, found {found(self.node)}")
        if "pattern" in self.context:
            message = f"{self._path}: {found(self.node)} does not match {self.context['pattern']}"
            return self.at.told(message)
        return self.at.told(f"{self._path}: {self.said}, found {found(self.node)}")


def metric_hint(name: str) -> str:
    """Return what metrics there are, those first that a name is likest to."""
    metrics, words = nearest_first(name, [metric.value for metric in Metric]), words_for("metrics")
    word = nearest(folded(name), words)
    resembling = metrics[0] if nearest(name, metrics) else None
    meant = words.get(folded(name)) or resembling or (word and words[word])
    ordered = f"metrics, the nearest first: {listed(metrics)}"
    if not meant:
        return ordered
    ordered = listed([meant, *(metric for metric in metrics if metric != meant)])
    return f"perhaps you meant «{meant}»; metrics, the nearest first: {ordered}"


def _kinds_with(key: str) -> str:
    """Return which kinds of backend have a key, for one that does not."""
    having = [kind for kind, part in kinds().known.items() if key in part.model_fields]
    if not having:
        return ""
    pages = joined([f"kind: {kind}" for kind in having])
    return f"only {pages} {'has' if len(having) == 1 else 'have'} it (docs/servers.md)"


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
