"""What types cannot say of a backend of kind `command`: its templates, and what they must name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from matrixbench.spec.command_line import VARIABLES, Names, check_element, names_in
from matrixbench.spec.grids import grid_entries
from matrixbench.spec.nodes import Finding, Node
from matrixbench.spec.templating import TemplateProblem
from matrixbench.spec.whole_forms import argument_list
from matrixbench.spec.wording import choose, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLANK = re.compile(r"\s+")
_SWITCHES = {
    "chat_template": "a template would be dropped without a word",
    "api_key": "the server would ask nobody for a key",
}
"""Backend key → what follows where it is true and the command line says nothing of it."""

_VARIABLE_OF = {"chat_template": "chat_template", "api_key": "api_key_file"}


def command_findings(root: Node) -> Iterator[Finding]:
    """Yield what is wrong with the command lines of a file's backends."""
    from_models = frozenset(
        name
        for model in root.child_entries("models").values()
        for name, _ in grid_entries(model.node.child("options"))
    )
    for entry in root.child_entries("backends").values():
        kind = entry.node.child("kind")
        if kind is not None and kind.value == "command":
            yield from _backend(entry.node, from_models)


def is_command_line(program: str) -> bool:
    """Return whether what should name a program goes on with arguments; a path may hold spaces."""
    name, *rest = _BLANK.split(program.strip())
    told = any(word.startswith(("-", "{{", "{%")) for word in rest)
    return bool(rest) and not name.startswith("{") and (told or "/" not in program)


def _backend(backend: Node, from_models: frozenset[str]) -> Iterator[Finding]:
    elements = [node for node in backend.child_items("argv") if isinstance(node.value, str)]
    argv = backend.entries.get("argv")
    if argv is None or not elements:
        return
    if not str(elements[0].value).strip():
        message = "the command line begins with an empty text"
        yield Finding(place=elements[0].place, message=message, hint="name a program")
    elif is_command_line(elements[0].text):
        message = f"the program {quoted(elements[0].text)} is a whole command line"
        hint = f"each argument is an element: {argument_list(elements[0].text)}"
        yield Finding(place=elements[0].place, message=message, hint=hint)
    names = Names()
    known = dict(grid_entries(backend.child("options")))
    for element in elements:
        problem = _problem(element)
        if problem:
            yield Finding(place=element.place, message=problem)
            continue
        own = names_in(str(element.value))
        names |= own
        yield from _unknown(element, own, known.keys() | from_models)
    if "port" not in names.variables:
        message = "the command line does not say {{ port }}"
        hint = "every start gets a free port: pass it on, such as --port, '{{ port }}'"
        yield Finding(place=argv.place, message=message, hint=hint)
    yield from _switches(backend, names)
    for name, entry in known.items():
        if name not in names.options and not names.whole:
            message = f"argv does not say {{{{ options.{name} }}}}: the option would change nothing"
            hint = "write it where its value belongs, or leave the option out"
            yield Finding(place=entry.place, message=message, hint=hint)


def _problem(element: Node) -> str:
    try:
        check_element(str(element.value))
    except TemplateProblem as problem:
        return str(problem)
    return ""


def _unknown(element: Node, names: Names, options: set[str]) -> Iterator[Finding]:
    for name in sorted(names.variables - VARIABLES.keys()):
        message = f"a command line has no variable {quoted(name)}"
        yield Finding(place=element.place, message=message, hint=choose(name, list(VARIABLES)))
    for name in sorted(names.options - options):
        message = f"there is no option {quoted(name)}"
        hint = choose(name, sorted(options), what="options of this backend and of the models")
        yield Finding(place=element.place, message=message, hint=hint)


def _switches(backend: Node, names: Names) -> Iterator[Finding]:
    for key, otherwise in _SWITCHES.items():
        entry, variable = backend.entries.get(key), _VARIABLE_OF[key]
        said, used = entry is not None and entry.node.value is True, variable in names.variables
        if said and entry is not None and not used:
            message = f"argv does not say {{{{ {variable} }}}}: {otherwise}"
            yield Finding(place=entry.place, message=message, hint=f"write it, or {key}: false")
        if used and not said:
            message = f"argv says {{{{ {variable} }}}}, but the backend does not say {key}: true"
            place = backend.entries["argv"].place
            yield Finding(place=place, message=message, hint=f"add {key}: true")
    if "context" in names.variables and "context" not in backend.entries:
        message = "argv says {{ context }}, but the backend has none"
        place = backend.entries["argv"].place
        yield Finding(place=place, message=message, hint="add context: the tokens of one request")
