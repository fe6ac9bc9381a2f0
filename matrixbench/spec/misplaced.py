"""Keys that stand at the wrong level of the file, and where each of them belongs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, get_args

from matrixbench.spec import aliases
from matrixbench.spec.backends import (
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
    ScriptedBackend,
)
from matrixbench.spec.charts import Chart
from matrixbench.spec.checks import CHECK_NAMES
from matrixbench.spec.experiment import ExperimentFile, Limits, SamplingField, Timeouts
from matrixbench.spec.llama_flags import USUAL as USUAL_FLAGS
from matrixbench.spec.llama_flags import long_name
from matrixbench.spec.matchers import Matcher
from matrixbench.spec.models import ChatTemplate, Model
from matrixbench.spec.nodes import Document, Finding, Loc, Node
from matrixbench.spec.ollama_names import OPTION_NAMES as OLLAMA_OPTIONS
from matrixbench.spec.tests import SuiteReference, Test
from matrixbench.spec.wording import dotted, joined, quoted, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from matrixbench.spec.base import Part

BACKENDS: tuple[type[Part], ...] = (
    LlamaServerBackend,
    OllamaBackend,
    CommandBackend,
    EndpointBackend,
    ScriptedBackend,
)
_SAMPLING = frozenset(get_args(SamplingField))
_REQUEST = frozenset(
    {
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "stop",
        "stream",
        "stream_options",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "chat_template_kwargs",
        "reasoning_effort",
        "reasoning_format",
        "thinking",
        "enable_thinking",
        "think",
        "cache_prompt",
        "grammar",
        "json_schema",
        "ignore_eos",
        "n_probs",
        "user",
        "metadata",
        "service_tier",
        "modalities",
        "prediction",
        "verbosity",
    }
)
"""Fields of a chat request that people look for a place for; any other one may stand there too."""


def _keys(*parts: type[Part]) -> frozenset[str]:
    return frozenset(
        info.alias or name for part in parts for name, info in part.model_fields.items()
    )


_FILE, _TEST, _MODEL = _keys(ExperimentFile), _keys(Test), _keys(Model)
_BACKEND = _keys(*BACKENDS)

_NAMED: Mapping[str, frozenset[str]] = {
    "backends": _BACKEND,
    "models": _MODEL,
    "chat_templates": _keys(ChatTemplate),
    "charts": _keys(Chart),
}
"""Mappings of the file whose values have names → the keys of one value."""

_WORDS_OF: Mapping[str, tuple[type[Part], ...]] = {
    "backends": BACKENDS,
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

_TOP = (_FILE, "", "at the top level of the file")
_TOP_SAMPLING = (_SAMPLING, "sampling", "under sampling:")
_TOP_REQUEST = (_REQUEST, "request", "under request:")
_IN_TIMEOUTS = (_keys(Timeouts), "timeouts", "under timeouts:")
_IN_LIMITS = (_keys(Limits), "limits", "under limits:")
_IN_BACKEND = (_BACKEND, "backends", "under a backend's name: backends: {NAME: {…}}")
_IN_MODEL = (_MODEL, "models", "under a model's name: models: {NAME: {…}}")
_IN_TEST = (_TEST, "tests", "in a test: tests: [{name: …, …}]")
_IN_CHART = (_keys(Chart), "charts", "under a chart's name: charts: {NAME: {…}}")
_OWN_REQUEST = (_SAMPLING | _REQUEST, "request", "under the test's request:")
_OWN_CHECKS = (frozenset(CHECK_NAMES), "expect", "in the test's expect:, with a «-» before it")
_OWN_NEEDS = (frozenset({"context"}), "needs", "under the test's needs:")
_OWN_MATCHERS = (
    _keys(Matcher) - _SAMPLING,
    "expect",
    "in the test's expect:, under content: of a check",
)

_RULES: Mapping[str, tuple[Rule, ...]] = {
    "ExperimentFile": (
        _TOP_SAMPLING,
        (_BACKEND - _MODEL, *_IN_BACKEND[1:]),
        (_TEST - _MODEL, *_IN_TEST[1:]),
        _TOP_REQUEST,
        _IN_TIMEOUTS,
        _IN_LIMITS,
        _IN_MODEL,
        _IN_CHART,
    ),
    "backend": (
        (_SAMPLING, "", "under sampling:, at the top level of the file"),
        (_MODEL - _BACKEND - _FILE, *_IN_MODEL[1:]),
        _TOP,
        (_keys(Timeouts), "", "under timeouts:, at the top level of the file"),
        (_REQUEST, "", "under request:, at the top level of the file"),
        (_TEST - _BACKEND, *_IN_TEST[1:]),
    ),
    "Model": (
        (_SAMPLING, "", "under sampling:, at the top level of the file"),
        (_BACKEND - _MODEL, *_IN_BACKEND[1:]),
        (_FILE - _MODEL, "", "at the top level of the file"),
        (_REQUEST, "", "under request:, at the top level of the file"),
    ),
    "Test": (
        _OWN_REQUEST,
        _OWN_CHECKS,
        _OWN_NEEDS,
        ((_FILE - _TEST) | {"max_tokens"}, "request", "under the test's request:"),
        _OWN_MATCHERS,
    ),
    "SuiteReference": (
        (_SAMPLING | _REQUEST | {"max_tokens"}, "request", "under the entry's request:"),
    ),
    "Suite": (
        (_FILE - {"name", "description", "tests"}, "", "in the experiment's file, not in a suite"),
        _IN_TEST,
    ),
    "sampling": (
        (_FILE, "", "at the top level of the file"),
        (_REQUEST, "", "under request:, at the top level of the file"),
    ),
}


def home_of(part: str, key: str) -> Home | None:
    """Return where a key belongs that a part of the file does not have; None where it is unknown.

    Args:
        part: The part's name; `sampling` for a grid of sampling fields.
        key: The key.
    """
    level = "backend" if part.endswith("Backend") else part
    if level == "Test" and key in _FILE - _TEST and key not in {"max_tokens", "seed"}:
        return Home(key=key, under="", words=_TOP[2])
    field = aliases.SAMPLING.get(key, key)
    for keys, under, words in _RULES.get(level, ()):
        if key in keys:
            return Home(key=key, under=under, words=words)
        if field in keys and field in _SAMPLING and len(key) > 1:
            return Home(key=field, under=under, words=words)
    return _option(part, level, key)


def _option(part: str, level: str, key: str) -> Home | None:
    """Return that a key is a server's option, where it is one."""
    words = "under options:"
    if part == "OllamaBackend":
        known = key in OLLAMA_OPTIONS
        return Home(key=key, under="options", words=words) if known else None
    if part == "LlamaServerBackend" or level == "Model":
        name = long_name(key) or key
        if name in USUAL_FLAGS or name != key:
            return Home(key=name, under="options", words=words)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifted:
    """What stands one level too high, found by the shape of the file before its types are checked.

    Args:
        findings: One for each place.
        covered: Where types would be told of that are wrong for this reason alone.
        keys: The keys that are there, if not where they belong.
    """

    findings: list[Finding] = field(default_factory=list)
    covered: set[Loc] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def covers(self, loc: Loc) -> bool:
        """Return whether a place is told of already."""
        return any(loc[:length] in self.covered for length in range(1, len(loc) + 1))


def shifted(document: Document, model: type[Part]) -> Shifted:
    """Return what stands one level too high: under `backends:` instead of under a backend's name.

    Args:
        document: The file.
        model: What it is read as.
    """
    found = Shifted()
    if model is ExperimentFile:
        for container, keys in _NAMED.items():
            _named(document, container, keys, found)
        _at_the_top(document, found)
        for container, keys in _NAMED.items():
            _two_levels(document, container, keys, found)
        for container in ("backends", "models"):
            for name, entry in document.root.child_entries(container).items():
                _inside(document, (container, name), entry.node, _NAMED[container], found)
    for index, test in enumerate(document.root.child_items("tests")):
        _inside(document, ("tests", index), test, _TEST | _keys(SuiteReference), found)
        _in_message(document, ("tests", index), test, found)
    return found


def _inside(document: Document, at: Loc, node: Node, known: frozenset[str], found: Shifted) -> None:
    """Find keys beside a mapping of one's own names that has nothing under it."""
    owner: str | None = None
    strays: dict[str, list[str]] = {}
    for name, entry in node.entries.items():
        if name in known:
            owner = name if name in _OWN_NAMES and _is_nothing(entry.node) else None
        elif owner is not None:
            strays.setdefault(owner, []).append(name)
    for name, lost in strays.items():
        _tell(document, at, lost, f"indent {joined(lost)} under {name}", found)
        found.covered.add((*at, name))


def _in_message(document: Document, at: Loc, test: Node, found: Shifted) -> None:
    """Find what belongs into the message before it: `- role: user`, and `content` too far left."""
    messages = test.child_items("messages")
    last = messages[-1].entries if messages else {}
    lost = [name for name in ("role", "content") if name in test.entries and name not in last]
    if lost and last:
        hint = f"indent {joined(lost)} as far as {next(iter(last))}, in the message"
        _tell(document, at, lost, hint, found)


def _named(document: Document, container: str, keys: frozenset[str], found: Shifted) -> None:
    node = document.root.child(container)
    if node is None or not node.entries:
        return
    owner: str | None = None
    strays: dict[str, list[str]] = {}
    for name, entry in node.entries.items():
        if name in keys or (owner is not None and _is_word(container, name)):
            if owner is not None:
                strays.setdefault(owner, []).append(name)
        else:
            owner = name if _is_nothing(entry.node) else None
    for name, lost in strays.items():
        _tell(document, (container,), lost, f"indent {joined(lost)} under {name}", found)
        found.covered.add((container, name))
    if not strays and node.entries.keys() <= keys and not _are_mappings(node):
        example = f"{container}: {{NAME: {written(node)}}}"
        lost = list(node.entries)
        _tell(document, (container,), lost, f"give it a name: {example}", found)


def _are_mappings(node: Node) -> bool:
    return any(isinstance(entry.node.value, dict) for entry in node.entries.values())


def _is_word(container: str, name: str) -> bool:
    return any(aliases.key_meant(part.__name__, name) for part in _WORDS_OF[container])


def _is_nothing(node: Node) -> bool:
    """Return whether nothing stands after a key, not even a null."""
    return node.value is None and not node.text


def _at_the_top(document: Document, found: Shifted) -> None:
    """Find keys beside a key of the file that has nothing under it, where they belong there."""
    owner: str | None = None
    strays: dict[str, list[str]] = {}
    for name, entry in document.root.entries.items():
        if name in _FILE:
            owner = name if _is_nothing(entry.node) else None
        elif owner is not None and _belongs(owner, name, entry.node):
            strays.setdefault(owner, []).append(name)
    for name, lost in strays.items():
        _tell(document, (), lost, f"indent {joined(lost)} under {name}", found)
        found.covered.add((name,))


def _two_levels(document: Document, container: str, keys: frozenset[str], found: Shifted) -> None:
    """Find keys at the top that belong under the name before them, which has nothing under it."""
    root = document.root
    empty = [
        name
        for name, entry in root.child_entries(container).items()
        if _is_nothing(entry.node) and (container, name) not in found.covered
    ]
    lost = [name for name in root.entries if name in keys - _FILE and (name,) not in found.covered]
    if empty and lost:
        hint = f"indent {joined(lost)} under {empty[-1]}"
        _tell(document, (), lost, hint, found, high="two levels too high")
        found.covered.add((container, empty[-1]))


def _belongs(owner: str, name: str, node: Node) -> bool:
    if owner in _NAMED:
        return isinstance(node.value, dict) or (owner == "models" and _is_nothing(node))
    home = home_of("ExperimentFile", name)
    return owner == "request" or (home is not None and home.under == owner)


def _tell(
    document: Document,
    at: Loc,
    lost: Sequence[str],
    hint: str,
    found: Shifted,
    *,
    high: str = "one level too high",
) -> None:
    first: Loc = (*at, lost[0])
    level = f"right under {dotted(at)}" if at else "at the top level"
    stand = "stands" if len(lost) == 1 else "stand"
    names = joined([quoted(name) for name in lost])
    message = f"{names} {stand} {high}, {level}"
    place = document.place_of(first, key=True)
    found.findings.append(Finding(place=place, message=message, hint=hint))
    found.covered.update((*at, name) for name in lost)
    found.keys.update(lost)


def together(
    document: Document, strays: Iterable[tuple[Loc, Home]], inside: Callable[[Loc], str]
) -> Iterator[Finding]:
    """Yield one finding for the keys of a mapping that belong to one other place.

    Args:
        document: The file.
        strays: Each key's way, and where it belongs.
        inside: Says where a mapping is.
    """
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
