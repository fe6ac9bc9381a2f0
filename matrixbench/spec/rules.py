"""What types cannot say of experiments and backends: empty axes, sources, fields that are ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matrixbench.spec.axes import MODEL_AXES
from matrixbench.spec.backends import kind_at
from matrixbench.spec.experiment import MAX_SEED, SAMPLING_FIELDS, ExperimentFile
from matrixbench.spec.shapes import (
    bracket_findings,
    grid_entries,
    in_brackets,
    is_loose,
    value_nodes,
)
from matrixbench.spec.slips import is_short, long_name
from matrixbench.spec.wording import choose, found, quoted
from matrixbench.spec.yaml_source import Document, Entry, Finding, Node, Place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WHOLE_NUMBERS = frozenset(
    {"top_k", "repeat_last_n", "dry_allowed_length", "dry_penalty_last_n", "mirostat"}
)
"""Sampling fields that are whole numbers."""

_CHOSEN = "matrixbench chooses it for each launch"
_MODEL = "say it under `models:`"
_TEMPLATE = "say it under `chat_templates:`"
_CONTEXT = "say it with the backend's `context:`, the tokens that one request may use"
_SLOTS = "say it with the backend's `slots:`"
_SEED = "every request carries its own: say it with `seed:` at the top level"
OWNED_OPTIONS: Mapping[str, str] = {
    **dict.fromkeys(("host", "port", "reuse-port", "path", "api-prefix"), _CHOSEN),
    **dict.fromkeys(("api-key", "api-key-file", "log-file", "log-disable"), _CHOSEN),
    **dict.fromkeys(("model", "m", "model-url", "mu", "docker-repo", "dr"), _MODEL),
    **dict.fromkeys(("hf-repo", "hf", "hfr", "hf-file", "hff"), _MODEL),
    **dict.fromkeys(("models-dir", "models-preset", "models-max"), _MODEL),
    **dict.fromkeys(("chat-template", "chat-template-file"), _TEMPLATE),
    **dict.fromkeys(("ctx-size", "c"), _CONTEXT),
    **dict.fromkeys(("parallel", "np"), _SLOTS),
    **dict.fromkeys(
        ("kv-unified", "kvu", "no-kv-unified", "no-kvu"),
        "each slot has its own KV cache, so that a cell's replies do not depend on its neighbours",
    ),
    **dict.fromkeys(("seed", "s"), _SEED),
}
"""llama-server's flags that matrixbench passes itself, and the way to say what is meant."""

RESERVED_FIELDS: Mapping[str, str] = {
    "messages": "say it with a test's `messages:`",
    "tools": "say it with a test's `tools:`",
    "model": "say it under `models:`, for an endpoint with `id:`",
    "seed": "say it with `seed:` at the top level; each trial sends its own, counted from there",
    "n": "say it with `trials:`; a trial is one reply",
    "n_predict": "say it with `max_tokens:`",
    "stream_options": "say `stream: true`; the usage of a stream is then asked for",
}
"""Request fields that matrixbench fills in itself, and the way to say what is meant."""

STREAM = "stream"
"""The request field that asks for a reply piece by piece."""

_STREAM_HINT = (
    "in the file's own `request:`, stream: [false, true] measures both; a test has one of the two"
)

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Signs that a terminal or a line of text obeys instead of showing them."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_BEGINNINGS = ("sk_", "hf_", "gsk_", "AIza")
"""How keys of well-known services begin that could be a variable's name by their signs."""

SOURCES = ("gguf", "hf", "package")
_PLACEHOLDER = re.compile(r"(?<!\$)\{([A-Za-z_][A-Za-z0-9_-]*)\}")


def rule_findings(document: Document) -> Iterator[Finding]:
    """Yield what is wrong with an experiment file though every type is right."""
    root = document.root
    yield from _names(root)
    for name, backend in root.child_entries("backends").items():
        kind = kind_at(backend.node)
        options = backend.node.child("options")
        yield from axis_findings(options)
        # What is no kind at all may have been meant as one whose options are flags.
        yield from (
            flag_findings(options) if kind is None else kind.rule_findings(name, backend, root)
        )
        yield from _key_variable(backend.node.child("api_key_env"))
    for model in root.child_entries("models").items():
        yield from _model(*model)
    for name, entry in root.child_entries("chat_templates").items():
        if {"name", "file"} <= entry.node.entries.keys():
            message = f"the chat template «{name}» has both a name and a file"
            yield entry.told(message, "give it one of the two")
    yield from axis_findings(root.child("sampling"))
    for field, entry in grid_entries(root.child("sampling")):
        for value in value_nodes(entry.node):
            yield from sampling_findings(field, value)
    yield from axis_findings(root.child("request"))
    for field, entry in grid_entries(root.child("request")):
        yield from _request(field, entry)
    yield from _bounds(root.child("trials"))
    yield from _seeds(document)
    yield from bracket_findings(document)


def _key_variable(node: Node | None) -> Iterator[Finding]:
    """Yield that a key stands where the name of its variable should, without repeating it."""
    if node is None or not isinstance(node.value, str):
        return
    if not _VARIABLE.fullmatch(node.value) or node.value.startswith(_KEY_BEGINNINGS):
        message = "api_key_env: expected the name of an environment variable, not a key"
        hint = "export NAME=… with the key, and write api_key_env: NAME; a file holds no secret"
        yield node.told(message, hint)


def name_findings(place: Place, *names: str) -> Iterator[Finding]:
    """Yield what is wrong with names that will be printed."""
    for name in filter(CONTROL.search, names):
        message = f"the name {quoted(name)} holds a control character"
        yield Finding(place=place, message=message, hint="names are printed: leave it out")


def _names(root: Node) -> Iterator[Finding]:
    own = root.child("name")
    given = [] if own is None else [(own.text, own.place)]
    for key in ("backends", "models", "chat_templates", "charts"):
        for name, entry in root.child_entries(key).items():
            given.append((name, entry.place))
            if not name.strip():
                yield entry.told(f"a name in {key} is empty")
            given += [(label, at.place) for label, at in entry.node.child_entries("binary").items()]
            for grid in ("options", "axes"):
                given += [(axis, at.place) for axis, at in grid_entries(entry.node.child(grid))]
    given += [(field, at.place) for field, at in grid_entries(root.child("request"))]
    for name, place in given:
        yield from name_findings(place, name)


def axis_findings(node: Node | None) -> Iterator[Finding]:
    """Yield the empty axes of a grid: a matrix with one has no cell."""
    if node and node.value == []:
        message = "an empty list of grids means nothing"
        yield node.told(message, "leave it out, or write {}")
    for field, entry in grid_entries(node):
        if entry.node.value == []:
            yield empty_axis(field, entry)


def empty_axis(field: str, entry: Entry) -> Finding:
    """Return the finding for an axis without values."""
    hint = f"give it a value, leave it out, or write {{value: []}} where {field} is an empty list"
    return entry.told(f"the axis {quoted(field)} is empty", hint)


def flag_findings(node: Node | None) -> Iterator[Finding]:
    """Yield the options that are written with dashes, or that are not given among options."""
    for flag, entry in grid_entries(node):
        bare = flag.lstrip("-")
        owner = OWNED_OPTIONS.get(bare.replace("_", "-"))
        if owner:
            message = f"the option {quoted(flag)} is not given here"
            yield entry.told(message, owner)
        elif bare != flag:
            message = f"an option is written without its dashes, found {quoted(flag)}"
            meant = long_name(flag) if is_short(bare) else None
            yield entry.told(message, f"write {meant or bare}")


def _model(name: str, entry: Entry) -> Iterator[Finding]:
    node = entry.node
    sources = [key for key in SOURCES if key in node.entries]
    if len(sources) > 1:
        message = f"the model «{name}» has several sources: {', '.join(sources)}"
        yield entry.told(message, "give it one of them")
    yield from axis_findings(node.child("options"))
    yield from flag_findings(node.child("options"))
    axes = node.child_entries("axes")
    for axis, values in axes.items():
        if values.node.value == []:
            yield empty_axis(axis, values)
        for value in values.node.items:
            if isinstance(value.value, (list, dict)) or value.value is None:
                message = f"{MODEL_AXES}{axis}: expected a text or a number, found {found(value)}"
                yield value.told(message)
    yield from _placeholders(node, axes)


def _placeholders(node: Node, axes: Mapping[str, Entry]) -> Iterator[Finding]:
    written = node.child("axes")
    if written is not None and written.value is None:
        return  # they stand beside it, which is told of
    used: set[str] = set()
    for key in ("gguf", "hf", "ollama", "id"):
        source = node.child(key)
        for text in source.strings() if source else ():
            for axis in _PLACEHOLDER.findall(str(text.value)):
                used.add(axis)
                if axis not in axes:
                    message = f"the placeholder «{{{axis}}}» stands for no axis of this model"
                    hint = choose(axis, list(axes), what=f"add axes: {{{axis}: […]}}; its axes")
                    yield text.told(message, hint)
    meant = {axis for axis, values in axes.items() if not is_loose(axis, values)}
    for axis in meant - used:
        message = f"no source of this model says «{{{axis}}}»: the axis would change nothing"
        hint = f"write {{{axis}}} where its values belong, or leave the axis out"
        yield axes[axis].told(message, hint)


def sampling_findings(field: str, node: Node) -> Iterator[Finding]:
    """Yield what is wrong with a sampling field's value; null leaves the field out."""
    value = node.value
    if field not in SAMPLING_FIELDS or value is None:
        return
    if field == "samplers":
        if not isinstance(value, list):
            message = f"samplers: expected a list, found {found(node)}"
            hint = "a list that is one value is written {value: [top_k, temperature]}"
            yield node.told(message, hint)
        return
    whole = field in WHOLE_NUMBERS
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        expected = "a whole number" if whole else "a number"
        message = f"{field}: expected {expected} or null, found {found(node)}"
        yield node.told(message, in_brackets(node))


def _request(field: str, entry: Entry) -> Iterator[Finding]:
    if field in SAMPLING_FIELDS:
        message = f"the sampling field {quoted(field)} stands in request"
        yield entry.told(message, "say it under `sampling:`")
    for value in value_nodes(entry.node):
        yield from request_findings(field, entry, value)


def request_findings(field: str, entry: Entry, value: Node) -> Iterator[Finding]:
    """Yield what is wrong with a field of `request:`, the file's or a test's."""
    if field in RESERVED_FIELDS:
        message = f"the request field {quoted(field)} is not given here"
        yield entry.told(message, RESERVED_FIELDS[field])
    if field == STREAM and not isinstance(value.value, bool | None):
        message = f"stream: expected true or false, found {found(value)}"
        yield value.told(message, _STREAM_HINT)
    if field == "max_tokens" and not _is_count(value.value):
        message = f"max_tokens: expected a whole number of at least 1, found {found(value)}"
        yield value.told(message, "no reply may be without a cap")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _bounds(trials: Node | None) -> Iterator[Finding]:
    least, most = (trials.child(key) if trials else None for key in ("min", "max"))
    low, high = (node.value if node else None for node in (least, most))
    if least and most and isinstance(low, int) and isinstance(high, int) and low > high:
        message = f"trials.min must be at most trials.max, found {least.text} and {most.text}"
        yield least.told(message)
    until = trials.child("until") if trials else None
    if until and isinstance(until.value, dict):
        given = {key: until.child(key) for key in ("half_width", "gate")}
        named = [key for key, node in given.items() if node and node.value is not None]
        if len(named) == 2:  # noqa: PLR2004  both of them
            message = "trials.until has both half_width and gate"
            hint = "half_width stops each cell alone, gate all of them together: choose one"
            yield until.told(message, hint)
        elif not named and not set(until.value) - given.keys():
            message = "trials.until does not say when there are enough"
            hint = "write {half_width: 0.1}, or {gate: {baseline: {backend: NAME}, max_drop: 0.1}}"
            yield until.told(message, hint)


def _seeds(document: Document) -> Iterator[Finding]:
    counts = [_count(document.root, key) for key in ("trials", "greedy_trials")]
    seed = _count(document.root, "seed")
    if seed <= MAX_SEED < seed + max(counts) - 1:
        message = f"the last trial would ask for seed {seed + max(counts) - 1}"
        hint = f"{MAX_SEED} is the largest seed: lower seed or trials"
        yield Finding(place=document.place_of(("seed",)), message=message, hint=hint)


def _count(root: Node, key: str) -> int:
    node = root.child(key)
    default = ExperimentFile.model_fields[key].default
    if node and node.entries:
        node = node.child("max")
    value = node.value if node else default
    return value if isinstance(value, int) else int(default)
