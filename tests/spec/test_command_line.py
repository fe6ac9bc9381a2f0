"""Command lines in the file: what may stand in them, and what is said of what may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from matrixbench.backends.command import CommandBackend
from matrixbench.backends.command_line import VARIABLES, Names, names_in, render_argv
from matrixbench.spec.wording import TemplateProblem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.spec.conftest import Load

REST = "\ntests: [{name: t, messages: [{role: user, content: hi}], expect: []}]\n"


def file(argv: str, rest: str = "") -> str:
    """Return an experiment whose one backend is a command."""
    return f"name: x\nbackends:\n  s:\n    kind: command\n    argv: {argv}\n{rest}{REST}"


def argv_of(load: Load, argv: str, **environ: str) -> list[str]:
    """Return the command line that a file means."""
    backend = load(file(argv), **environ).file.backends["s"]
    assert isinstance(backend, CommandBackend)
    return backend.argv


def test_values_are_written_as_the_file_writes_them() -> None:
    """Numbers and texts as they are, true and false in lower case, lists and mappings as JSON."""
    options = {"n": 3, "f": 0.5, "on": True, "off": False, "l": [1, "a"], "m": {"a": None}}
    texts = [f"--{name}={{{{ options.{name} }}}}" for name in options]
    assert render_argv(texts, {"options": options}) == (
        *("--n=3", "--f=0.5", "--on=true", "--off=false"),
        *('--l=[1, "a"]', '--m={"a": null}'),
    )


def test_what_renders_to_nothing_is_left_out() -> None:
    """A template may add or drop an argument; an empty text that is written so stays."""
    argv = ["a", "", "{% if options.x %}--x{% endif %}", "{{ chat_template }}"]
    assert render_argv(argv, {"options": {"x": False}, "chat_template": ""}) == ("a", "")
    assert render_argv(argv, {"options": {"x": True}, "chat_template": "t"}) == (
        *("a", "", "--x", "t"),
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{{ options.nope }}", "argv[1]: the template fails: 'dict object' has no attribute"),
        ("{{ model }}", "argv[1]: the template fails: the value is null"),
        ("{{ 'a' * 9999999 }}", "argv[1]: the template fails"),
        ("{{ options['x'] }}", "argv[1]: it holds a NUL"),
    ],
)
def test_what_cannot_be_written_names_its_element(text: str, reason: str) -> None:
    """The number of the element comes first."""
    with pytest.raises(TemplateProblem) as caught:
        render_argv(["a", text], {"options": {"x": "\0"}, "model": None})
    assert str(caught.value).startswith(reason)


def test_names_are_read_off_the_templates() -> None:
    """Options one by one, or as a whole where a template goes through them."""
    assert names_in("{{ port }}", "{{ options.a }}{{ options['b-c'] }}", "plain {x}") == Names(
        variables=frozenset({"port", "options"}), options=frozenset({"a", "b-c"})
    )
    assert names_in("{% for name in options %}{{ name }}{% endfor %}").whole
    assert names_in("{{ options.items() | list }}").whole
    assert names_in("{{ not a template").variables == frozenset()


def test_every_variable_is_known_to_the_check(problems: Callable[[str], list[str]]) -> None:
    """All of the list may be named."""
    texts = ", ".join(f"'{{{{ {name} }}}}'" for name in VARIABLES)
    rest = "    context: 1\n    chat_template: true\n    api_key: true\n"
    assert problems(file(f"[run, {texts}]", rest)) == []


@pytest.mark.parametrize(
    ("argv", "rest", "message"),
    [
        ("[]", "", "exp.yaml:5:5: backends.s.argv must not be empty"),
        ("[run, 8080]", "", "exp.yaml:5:17: backends.s.argv[1]: expected a text"),
        ("['', '{{ port }}']", "", "exp.yaml:5:12: the command line begins with an empty text"),
        ("[run]", "", "exp.yaml:5:5: the command line does not say {{ port }}"),
        (
            "[run, '{{ prot }}{{ port }}']",
            "",
            "exp.yaml:5:17: a command line has no variable «prot»",
        ),
        ("[run, '{{ port }}', '{{ port']", "", "exp.yaml:5:31: not a template"),
        ("[run, '{{ port }}', '{% set a = 1 %}']", "", "exp.yaml:5:31: not a template: only if"),
        (
            "[run, '{{ port }}', '{{ options.cahce }}']",
            "    options: {cache: f16}\n",
            "exp.yaml:5:31: there is no option «cahce»\n  perhaps you meant «cache»",
        ),
        (
            "[run, '{{ port }}']",
            "    options: {kv: f16}\n",
            "exp.yaml:6:15: argv does not say {{ options.kv }}: the option would change nothing",
        ),
        (
            "[run, '{{ port }}']",
            "    chat_template: true\n",
            "exp.yaml:6:5: argv does not say {{ chat_template }}",
        ),
        (
            "[run, '{{ port }}', '{{ api_key_file }}']",
            "",
            "exp.yaml:5:5: argv says {{ api_key_file }}, but the backend does not say",
        ),
        (
            "[run, '{{ port }}', '{{ context }}']",
            "",
            "exp.yaml:5:5: argv says {{ context }}, but the backend has none",
        ),
        ("[run, '{{ port }}']", "    base_path: v1\n", "exp.yaml:6:16: backends.s.base_path"),
        ("[run, '{{ port }}']", "    ready: {path: health}\n", "exp.yaml:6:19: backends.s.ready"),
        ("[run, '{{ port }}']", "    ready: {pat: /x}\n", "exp.yaml:6:13: unknown key «pat»"),
    ],
)
def test_mistakes_are_told_with_their_place(
    problems: Callable[[str], list[str]], argv: str, rest: str, message: str
) -> None:
    """Before anything starts, and where possible with the way out."""
    told = problems(file(argv, rest))
    assert any(problem.startswith(message) for problem in told), told


def test_a_model_s_option_is_one_that_a_command_line_may_say(
    problems: Callable[[str], list[str]],
) -> None:
    """Options may come from the models alone."""
    models = "models: {m: {id: x, options: {kv: f16}}}\n"
    assert problems(file("[run, '{{ port }}', '{{ options.kv }}']", models)) == []


def test_the_options_are_words_of_the_file(problems: Callable[[str], list[str]]) -> None:
    """Names that are llama-server's own flags mean nothing special here."""
    argv = "[run, '{{ port }}', '{{ options.parallel }}', '{{ options.seed }}']"
    assert problems(file(argv, "    options: {parallel: 2, seed: [1, 2]}\n")) == []


def test_the_program_s_path_is_relative_to_the_file(load: Load, tmp_path: Path) -> None:
    """`~` and variables expand; a bare name stays one, and so do all other elements."""
    cases = {
        "./bin/serve": str(tmp_path / "bin/serve"),
        "~/bin/serve": "/home/me/bin/serve",
        "'${WHERE}/serve'": "/opt/serve",
        "serve": "serve",
        "'{{ here }}/serve'": "{{ here }}/serve",
    }
    for written, meant in cases.items():
        argv = argv_of(load, f"[{written}, '{{{{ port }}}}', ./x]", HOME="/home/me", WHERE="/opt")
        assert argv == [meant, "{{ port }}", "./x"]
