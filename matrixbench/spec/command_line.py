"""A server's command line as the file writes it: what its templates name, and rendering them.

Each element is one argument, whatever it holds: no shell ever reads it. The language is that of
tests with parameters (`spec.templating`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, TemplateSyntaxError, meta, nodes

from matrixbench.spec.templating import METHODS, Renderer, TemplateProblem

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


def _written(value: Any) -> Any:  # noqa: ANN401  any value of the file
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
