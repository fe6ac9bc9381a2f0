"""The whole right form of a value that has the wrong shape, written out with what was meant.

`messages: hi` is refused, and so would be `messages: [hi]`: what helps is the form that loads,
`[{role: user, content: hi}]`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matrixbench.spec.aliases import CHECKS, key_meant, kind_meant
from matrixbench.spec.backends import Backend
from matrixbench.spec.charts import Metric
from matrixbench.spec.checks import CHECK_NAMES
from matrixbench.spec.llama_flags import long_name
from matrixbench.spec.matchers import Matcher
from matrixbench.spec.shapes import kinds_of
from matrixbench.spec.wording import plain_or_quoted, written

if TYPE_CHECKING:
    from matrixbench.spec.nodes import Loc, Node

ROLES = ("system", "developer", "user", "assistant", "tool")
"""Who speaks in a conversation, as chat APIs and templates know it."""

_WORD = re.compile(r"(?:\{\{.*?\}\}|\{%.*?%\}|\"[^\"]*\"|'[^']*'|[^\s\"'{]|\{)+")
"""One word of a command line; what stands in braces or quotes holds together."""

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+(:[\w.-]+)?")
_TAG = re.compile(r"[\w.-]+(/[\w.-]+)*:[\w.-]+")
_PATH = re.compile(r"^(~|\.{0,2}/|\$\{)")
_URL = re.compile(r"^https?://")
_FLAG = re.compile(r"--?[A-Za-z][\w-]*")


def whole_form(loc: Loc, node: Node | None) -> str:  # noqa: C901, PLR0911, PLR0912  one a place
    """Return what to write at a place of the file instead of a value of the wrong shape.

    Args:
        loc: The way to the value.
        node: The value.

    Empty where nothing can be said beyond its type.
    """
    if node is None or node.value is None:
        return ""
    match loc:
        case (*_, "messages"):
            return _listed(_message(node))
        case (*_, "messages", int()):
            return _message(node)
        case (*_, "expect" | "all" | "any"):
            return _listed(check_form(node))
        case (*_, "turns" | "honours" | "tags" | "only" | "skip") if _is_scalar(node):
            return f"[{written(node)}]"
        case (*_, "turns"):
            return _listed(written(node))
        case ("backends", str()):
            return _backend(node)
        case ("models", str()):
            return _model(node)
        case ("chat_templates", str()):
            return _template(node)
        case ("charts", str()) if node.text in set(Metric):
            return f"{{metric: {node.text}}}"
        case ("backends" | "models" | "chat_templates" | "charts" as container,):
            return _container(container, node)
        case ("tests", int()) if isinstance(node.value, str):
            return f"{{suite: {written(node)}}}"
        case ("tests",):
            return _tests(node)
        case (*_, "argv"):
            return _argv(node)
        case _:
            return _smaller(loc, node)


def _against(node: Node) -> str:
    """Return a baseline as the file writes it, from how the command line does: AXIS=VALUE."""
    axis, sign, value = node.text.partition("=")
    return f"{{{axis.strip()}: {value.strip()}}}" if sign else f"{{backend: {axis.strip()}}}"


def _smaller(loc: Loc, node: Node) -> str:  # noqa: C901, PLR0911, PLR0912  one for each place
    """Return the form of a value that is small: a number where a mapping is due, and the like."""
    number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
    match loc:
        case (*_, "env"):
            return _pairs(node, separator="=")
        case (*_, "options") if not isinstance(node.value, dict):
            return _flags(node)
        case (*_, "ready"):
            return f"{{{'timeout_s' if number else 'path'}: {written(node)}}}"
        case ("timeouts",) if number:
            return f"{{request_s: {written(node)}}}"
        case ("limits",) if number:
            return f"{{cells: {written(node)}}}"
        case (*_, "needs") if number:
            return f"{{context: {written(node)}}}"
        case ("trials", "until", "gate") if isinstance(node.value, str):
            return f"{{baseline: {_against(node)}, max_drop: 0.1}}"
        case ("trials", "until", "gate", "baseline") if isinstance(node.value, str):
            return _against(node)
        case ("trials", "until") if number:
            return f"{{half_width: {written(node)}}}"
        case ("trials",) if len(node.items) == 2:  # noqa: PLR2004  from and to
            least, most = map(written, node.items)
            return f"{{min: {least}, max: {most}, until: {{half_width: 0.1}}}}"
        case ("sampling",) if number:
            return f"{{temperature: {written(node)}}}"
        case (*_, "latency_s" | "completion_tokens") if number:
            return f"{{max: {written(node)}}}"
        case (*_, "tool_calls"):
            return _listed(f"{{name: {written(node)}}}" if _is_scalar(node) else written(node))
        case (*_, "tool_calls" | "calls", int()) if isinstance(node.value, str):
            return f"{{name: {written(node)}}}"
        case (*_, "tools", int()) if isinstance(node.value, str):
            return f"{{type: function, function: {{name: {written(node)}}}}}"
        case (*_, "returns"):
            return _listed(f"{{content: {written(node)}}}" if _is_scalar(node) else written(node))
        case (*_, "returns", int()) if _is_scalar(node):
            return f"{{content: {written(node)}}}"
        case (*_, "package") if isinstance(node.value, str):
            return "{name: …, version: …, file: PATH/IN/THE/WHEEL.gguf, sha256: …}"
        case (*_, "exclude" | "include" | "tools") if node.entries:
            return _listed(written(node))
        case _:
            return ""


def _is_scalar(node: Node) -> bool:
    return not isinstance(node.value, list | dict)


def _listed(form: str) -> str:
    return f"[{form}]" if form else ""


def _message(node: Node) -> str:
    """Return a message: a text is what the user says, `{user: hi}` says who speaks by its key."""
    if _is_scalar(node):
        return f"{{role: user, content: {written(node)}}}"
    said = [f"{{role: {role}, content: {written(e.node)}}}" for role, e in node.entries.items()]
    if node.entries and node.entries.keys() <= set(ROLES):
        return ", ".join(said)
    return written(node) if "role" in node.entries else ""


def check_form(node: Node | None) -> str:
    """Return the check that is meant: a text is to be contained, a condition is the content's."""
    if node is None:
        return ""
    if _is_scalar(node):
        return f"{{content: {{contains: {written(node)}}}}}"
    for key, entry in node.entries.items():
        if key in CHECK_NAMES:
            return written(node)
        if condition := _condition(key):
            return f"{{content: {{{condition}: {written(entry.node)}}}}}"
        if key in CHECKS:
            return f"{{{CHECKS[key]}: {written(entry.node)}}}"
    return ""


def _condition(key: str) -> str | None:
    """Return the condition of a matcher that a key is, or stands for."""
    if key in CHECKS:
        return None
    return key if key in Matcher.model_fields else key_meant("Matcher", key)


def _backend(node: Node) -> str:
    text = node.text
    if not isinstance(node.value, str):
        return ""
    if _URL.match(text):
        return f"{{kind: endpoint, url: {written(node)}}}"
    if text in kinds_of(Backend):
        return f"{{kind: {text}}}"
    if (meant := kind_meant(text)) is not None:
        return f"{{kind: {meant.kind}}}"
    if _PATH.match(text) or "/" in text:
        return f"{{kind: llama-server, binary: {written(node)}}}"
    return ""


def _model(node: Node) -> str:
    """Return where a model is: a file, a repository on a hub, a tag, else its name on a server."""
    text = node.text
    if not isinstance(node.value, str):
        return ""
    if text.endswith(".gguf") or _PATH.match(text):
        return f"{{gguf: {written(node)}}}"
    if _REPOSITORY.fullmatch(text):
        return f"{{hf: {written(node)}}}"
    if _TAG.fullmatch(text):
        return f"{{ollama: {written(node)}}}, or {{id: {written(node)}}} for an endpoint"
    return f"{{id: {written(node)}}}" if text else ""


def _template(node: Node) -> str:
    text = node.text
    if not isinstance(node.value, str) or not text:
        return ""
    is_file = "/" in text or text.endswith((".jinja", ".jinja2", ".j2", ".txt", ".tmpl"))
    return f"{{{'file' if is_file else 'name'}: {written(node)}}}"


_EXAMPLES = {
    "backends": "{NAME: {kind: …}}",
    "models": "{NAME: {hf: user/repo}}",
    "chat_templates": "{NAME: {file: …}}",
    "charts": "{NAME: {x: …, y: …}}",
}


def _container(container: str, node: Node) -> str:
    """Return a mapping of names for a list, or for a single value without a name."""
    one = {"backends": _backend, "models": _model, "chat_templates": _template}.get(container)
    if isinstance(node.value, str) and one is not None and (form := one(node)):
        return f"{{NAME: {form.partition(', or ')[0]}}}"
    return _EXAMPLES[container]


def _tests(node: Node) -> str:
    if isinstance(node.value, str):
        return f"[{{suite: {written(node)}}}]"
    if {"name", "messages", "expect", "suite"} & node.entries.keys():
        return f"begin each test with «- », or write {_listed(written(node))}"
    if node.entries:
        name = next(iter(node.entries))
        return f"begin each test with «- » and its name: - name: {plain_or_quoted(name)}"
    return ""


def _argv(node: Node) -> str:
    if not isinstance(node.value, str):
        return ""
    return f"each argument is an element: {argument_list(node.text)}"


def argument_list(text: str) -> str:
    """Return the arguments of a command line, as a list that may be copied."""
    words = [word.replace('"', "").replace("'", "") for word in _WORD.findall(text)]
    return f"[{', '.join(map(plain_or_quoted, words))}]"


def _pairs(node: Node, *, separator: str) -> str:
    """Return a mapping for `[A=b]` or `A=b`."""
    texts = [item.text for item in node.items] or [node.text]
    pairs = [text.partition(separator) for text in texts]
    if not all(sign and name for name, sign, _ in pairs):
        return ""
    inner = ", ".join(f"{name}: {plain_or_quoted(value)}" for name, _, value in pairs)
    return f"{{{inner}}}"


def _flags(node: Node) -> str:
    """Return a mapping for a command line's flags: `-ngl 99 -fa on`, as a text or as a list."""
    texts = [item.text for item in node.items] or [node.text]
    words = [word for text in texts for word in text.replace("=", " ").split()]
    if not words or not _FLAG.fullmatch(words[0]):
        return ""
    told: dict[str, str] = {}
    for word in words:
        if _FLAG.fullmatch(word):
            told[long_name(word) or word.lstrip("-")] = "true"
        else:
            told[next(reversed(told))] = word if word.isdecimal() else plain_or_quoted(word)
    return f"{{{', '.join(f'{name}: {value}' for name, value in told.items())}}}"


def sentence(form: str) -> str:
    """Return a form as a hint: `write …`, unless it says more by itself."""
    return form if not form or form.startswith(("begin", "each", "write")) else f"write {form}"
