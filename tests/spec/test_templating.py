"""The small language of test parameters: what it can say, and that it cannot hurt."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.spec.templating import Renderer
from matrixbench.spec.wording import TemplateProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.spec.conftest import Load

PARAMETERS: dict[str, Any] = {"country": "France", "n": 3, "map": {"France": "Paris"}}


def rendered(text: str) -> str:
    """Return a text with the parameters filled in."""
    return Renderer().render(text, PARAMETERS)


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("no braces", "no braces"),
        ("{not a template}", "{not a template}"),
        ("{{ country }}\n", "France\n"),
        ("{{ map[country] }}", "Paris"),
        ("{{ country|upper ~ n }}", "FRANCE3"),
        ("{% for i in range(n) %}{{ i }}{% if not loop.last %}-{% endif %}{% endfor %}", "0-1-2"),
        ("{{ 'ab' * n }}", "ababab"),
        ("{{ map|tojson }}", '{"France": "Paris"}'),
        ('{{ "<\'é"|tojson }}', '"<\'é"'),
        ("{{ [1, 2]|join(', ') }}", "1, 2"),
        ("{% raw %}{{ x }}{% endraw %}{# gone #}", "{{ x }}"),
    ],
)
def test_parameters_are_filled_in(text: str, result: str) -> None:
    """Expressions, loops and conditions over the parameters."""
    assert rendered(text) == result


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ nope }}", "'nope' is undefined"),
        ("{{ country.nope }}", "has no attribute 'nope'"),
        ("{{ country", "unexpected end of template"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{{ country|nope }}", "no filter «nope»"),
        ("{{ country.encode() }}", "only these may be called"),
        ("{{ ''.__class__ }}", "unsafe"),
        ("{{ map.__init__.__globals__ }}", "unsafe"),
        ("{% set x = 1 %}", "only if and for may stand"),
        ("{% macro m() %}{% endmacro %}", "only if and for may stand"),
        ("{% include 'x' %}", "only if and for may stand"),
        ("{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}", "may not be recursive"),
    ],
)
def test_what_is_not_in_the_language_is_told(text: str, why: str) -> None:
    """A wrong template says what is wrong with it."""
    with pytest.raises(TemplateProblem, match=why):
        rendered(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 10**10 }}",
        "{{ 10**10 * 'a' }}",
        "{{ [1] * 10**10 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{{ 2 ** 99999999 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ range(10**9)|list }}",
        "{{ range(0, 10**300) }}",
        "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
        "{% for a in 'a' * 20000 %}{% endfor %}",
        "{% for a in range(100) %}{{ 'x' * 1000000 }}{% endfor %}",
        "{{ ('x' * 1000000) ~ ('x' * 1000000) }}",
        "{{ ('x' * 1000000)|replace('x', 'x' * 1000000) }}",
        "{{ range(9999)|join('x' * 1000000) }}",
        "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}",
        "{% for a in 'ab' %}" * 30 + "x" + "{% endfor %}" * 30,
        "{{ n }}" * 1_000_000,
    ],
)
def test_a_template_cannot_hang_or_fill_the_machine(text: str) -> None:
    """Steps, lengths, numbers and depth are bounded before they are spent."""
    with pytest.raises(TemplateProblem):
        rendered(text)


WORDS = [
    "{{", "}}", "{%", "%}", "{#", "#}", "for", "in", "if", "endif", "endfor", "not", "n", "map",
    "country", "range", "loop", "|", "~", "*", "**", "+", "-", "%", "==", "(", ")", "[", "]", ".",
    "9", "'a'", "items", "join", "upper", "tojson", "default", "sort", "first",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=25))
def test_no_template_does_more_than_fail(words: list[str]) -> None:
    """Whatever the template, it renders or is a problem."""
    with suppress(TemplateProblem):
        rendered("{{ " + " ".join(words) + " }}")


@pytest.mark.parametrize(
    "text",
    ["{{ 1e999 }}", "{{ 1e999 + 1 }}", "{{ -1e999 }}", "{{ 1e308 / 1e-10 }}", "{{ [1e999] }}"],
)
def test_numbers_beyond_all_ranges_are_a_mistake_of_the_text(text: str) -> None:
    """Python calls them inf; a template that holds or makes one is told, or writes it."""
    with suppress(TemplateProblem):
        assert "inf" in rendered(text)


def test_a_text_that_is_one_expression_stays_a_text(load: Load) -> None:
    """`{{ n }}` alone gives the text «3», in keys nothing is filled in, null stays null."""
    (case,) = load("""\
name: x
backends: {s: {kind: scripted, replies: [hello]}}
tests:
- name: t{{ n }}
  parameters: {n: 3}
  messages: [{role: user, content: "{{ n }}", "{{ n }}": null, more: [{deep: "{{ n }}"}]}]
  expect: []
""").tests
    assert case.messages[0] == {
        "role": "user", "content": "3", "{{ n }}": None, "more": [{"deep": "3"}],
    }  # fmt: skip


def test_linked_parameters_and_lists_that_are_values(load: Load) -> None:
    """A list of grids links parameters; `{value: [...]}` is a list that is one value."""
    cases = load("""\
name: x
backends: {s: {kind: scripted, replies: [hello]}}
tests:
- name: "{{ a }}{{ b|length }}"
  parameters: [{a: 1, b: {value: [x, y]}}, {a: [2, 3], b: z}]
  messages: [{role: user, content: x}]
  expect: []
""").tests
    assert [case.name for case in cases] == ["12", "21", "31"]
    assert cases[0].parameters == {"a": 1, "b": ["x", "y"]}


def test_too_many_cases_are_refused_before_they_are_made(
    problems: Callable[[str], list[str]],
) -> None:
    """A product of parameters that nobody could want is told by its size."""
    axes = ", ".join(f"{name}: [{', '.join(map(str, range(100)))}]" for name in "abcde")
    (told,) = problems(f"""\
name: x
backends: {{s: {{kind: scripted, replies: [hello]}}}}
tests: [{{name: t, parameters: {{{axes}}}, messages: [{{role: user}}], expect: []}}]
""")
    assert "make 10,000,000,000 tests, more than 10,000" in told


def test_a_failing_template_is_told_once_for_all_points(
    problems: Callable[[str], list[str]],
) -> None:
    """A mistake in a text is one problem, with the place of the text."""
    (told,) = problems("""\
name: x
backends: {s: {kind: scripted, replies: [hello]}}
tests:
- {name: "t{{ a }}", parameters: {a: [1, 2, 3]}, messages: [{role: "{{ b }}"}], expect: []}
""")
    assert told == ("exp.yaml:4:68: the template fails: 'b' is undefined\n  the parameters are a")
