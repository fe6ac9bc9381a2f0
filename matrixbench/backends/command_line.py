"""The language of command lines: what an argument may name, how it is filled in, what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, TemplateSyntaxError, meta, nodes

from matrixbench.spec.shapes import argument_list, grid_entries
from matrixbench.spec.templating import METHODS, Renderer
from matrixbench.spec.wording import TemplateProblem, choose, quoted
from matrixbench.spec.yaml_source import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matrixbench.spec.yaml_source import Node

VARIABLES: Mapping[str, str] = {
    "host": "the address to listen on",
    "port": "the port to listen on, another one for every start",
    "model": "the model's file, or its id where it has none",
    "model_id": "the model's id",
    "alias": "the name by which requests call the model",
    "chat_template": "a file with the chat template's text, or its name; empty for the model's own",
    "options": "the options of this launch, name → value",
    "api_key_file": "a file with the key that the server must ask for",
    "context": "the backend's context, in tokens",
    "slots": "requests at a time",
    "faithful": "whether the experiment asks for reruns that are bit-equal",
    "here": "the folder of the experiment file",
}
"""What a command line may name → what it stands for."""

_OPTIONS = "options"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What templates refer to.

    Args:
        variables: Names of variables.
        options: Options that are named one by one.
        whole: Whether `options` is used as a whole, so that every option is meant.
    """

    variables: frozenset[str] = frozenset()
    options: frozenset[str] = frozenset()
    whole: bool = False

    def __or__(self, other: Names) -> Names:
        return Names(
            variables=self.variables | other.variables,
            options=self.options | other.options,
            whole=self.whole or other.whole,
        )


@lru_cache(maxsize=256)
def names_in(*texts: str) -> Names:
    """Return what some templates refer to; what is no template refers to nothing."""
    found = Names()
    for text in texts:
        if "{" in text:
            found |= _names(text)
    return found


def _names(text: str) -> Names:
    try:
        tree = Environment(autoescape=False).parse(text)  # noqa: S701  arguments, not HTML
    except TemplateSyntaxError:
        return Names()
    named = [
        *(name for node in tree.find_all(nodes.Getattr) for name in _one(node)),
        *(name for node in tree.find_all(nodes.Getitem) for name in _one(node)),
    ]
    mentioned = [node for node in tree.find_all(nodes.Name) if node.name == _OPTIONS]
    return Names(
        variables=frozenset(meta.find_undeclared_variables(tree)) - {"range"},
        options=frozenset(named),
        whole=len(mentioned) > len(named),
    )


def _one(node: nodes.Getattr | nodes.Getitem) -> list[str]:
    """Return the option that a node names: `options.NAME`, or `options["NAME"]`."""
    if not isinstance(node.node, nodes.Name) or node.node.name != _OPTIONS:
        return []
    if isinstance(node, nodes.Getattr):
        return [] if node.attr in METHODS else [node.attr]
    return [str(node.arg.value)] if isinstance(node.arg, nodes.Const) else []


def check_element(text: str) -> None:
    """Check one element by itself.

    Raises:
        TemplateProblem: It is not in the language, or no argument can hold it.
    """
    _refuse_nul(text)
    Renderer(finalize=_written).check(text)


def render_argv(argv: Sequence[str], values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the arguments that a command line stands for.

    An element whose template renders to nothing is left out, so that `{% if … %}` can add or drop
    an argument; one that is written as an empty text stays. `true` and `false` are written as in
    YAML, lists and mappings as JSON.

    Raises:
        TemplateProblem: An element fails, names what there is not, or a value of it is null; the
            text says which one.
    """
    renderer = Renderer(finalize=_written)
    arguments: list[str] = []
    for number, element in enumerate(argv):
        try:
            text = renderer.render(element, values)
            _refuse_nul(text)
        except TemplateProblem as problem:
            raise TemplateProblem(f"argv[{number}]: {problem}") from None
        if text or not element:
            arguments.append(text)
    return tuple(arguments)


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise TemplateProblem("it holds a NUL character, which no argument can")


def _written(value: Any) -> Any:
    """Return a value as an argument holds it."""
    match value:
        case None:
            raise ValueError("the value is null; ask for it with {% if … %}")
        case bool():
            return "true" if value else "false"
        case Mapping() | list() | tuple():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return value


_BLANK = re.compile(r"\s+")
_SWITCHES = {
    "chat_template": "a template would be dropped without a word",
    "api_key": "the server would ask nobody for a key",
}
"""Backend key → what follows where it is true and the command line says nothing of it."""

_VARIABLE_OF = {"chat_template": "chat_template", "api_key": "api_key_file"}


def command_findings(backend: Node, root: Node) -> Iterator[Finding]:
    """Yield what is wrong with a backend's command line; `root` is the whole file."""
    from_models = frozenset(
        name
        for model in root.child_entries("models").values()
        for name, _ in grid_entries(model.node.child("options"))
    )
    yield from _command_backend(backend, from_models)


def is_command_line(program: str) -> bool:
    """Return whether what should name a program goes on with arguments; a path may hold spaces."""
    name, *rest = _BLANK.split(program.strip())
    told = any(word.startswith(("-", "{{", "{%")) for word in rest)
    return bool(rest) and not name.startswith("{") and (told or "/" not in program)


def _command_backend(backend: Node, from_models: frozenset[str]) -> Iterator[Finding]:
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
