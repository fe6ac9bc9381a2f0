"""Chat templates that cannot be parsed, and the one line that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.spec.templating import template_fault

FINE = [
    "{{ messages }}",
    "{%- for m in messages -%}{{ m['content'] | trim | tojson(indent=2) }}{%- endfor -%}",
    "{% for m in messages %}{% if loop.last %}{% break %}{% endif %}{% continue %}{% endfor %}",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}",
    "{% set ns = namespace(a=1) %}{% set ns.a = 2 %}{{ raise_exception('x') }}",
    "{% set x %}a{% endset %}{{ strftime_now('%d') }}{{ x[::-1] if x is defined else '' }}",
    "{% macro f(a, b=none) %}{% endmacro %}{% call f(1) %}{% endcall %}",
    "{# {% if %} #}{% raw %}{{ {% {% endraw %}",
    "{{ 9 ** 9 ** 9 ** 9 }}",  # worked out by nobody
]


@pytest.mark.parametrize("text", FINE)
def test_what_hubs_hold_is_fine(text: str) -> None:
    """Loop controls and `generation` blocks are in the templates of many models."""
    assert template_fault(text) is None


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("{% for m in messages %}\n{{ m.content }\n{% endfor %}", 2, "unexpected '}'"),
        ("a\n{% for m of messages %}{% endfor %}", 2, "expected token 'in', got 'of'"),
        ("{% if x = 1 %}\n{% endif %}", 1, "got '='"),
        ("a\n{% if x %}\nb\n{% for y in z %}\n{% endfor %}\n", 2, "{% if %} is never closed"),
        ("{% for y in z %}\n{% if x %}\n{% endif %}\n", 1, "{% endfor %} is missing"),
        ("{% macro f() %}\n\n", 1, "{% endmacro %} is missing"),
        ("{% generation %}\n", 1, "{% endgeneration %} is missing"),
        ("{% set x %}\n{% set y = 1 %}", 1, "{% endset %} is missing"),
        ("{% if a %}\nx\n{% endfor %}", 3, "stands where {% endif %} is due, for line 1"),
        ("\n{% endif %}", 2, "closes nothing"),
        ("{% if x %}\n{% esle %}\n{% endif %}", 2, "perhaps «else»"),
        ("{% fro x in y %}{% endfor %}", 1, "unknown tag 'fro'"),
        ("a\n{# not closed", 2, "Missing end of comment"),
        ("{{ 'a }}", 1, "unexpected char"),
        ("{{ a ? b : c }}", 1, "unexpected char '?'"),
        ("{{ a && b }}", 1, "unexpected char '&'"),
        ("\n\n{% set x = [1, 2 %}", 3, "expected ']'"),
        ("{{ }}", 1, "Expected an expression"),
        ("{% raw %}{{ x }}", 1, "Missing end of raw"),
    ],
)
def test_an_error_names_its_line(text: str, line: int, said: str) -> None:
    """What no Jinja could take is certain; a block that stays open is told where it begins."""
    fault = template_fault(text)
    assert fault is not None
    assert (fault.line, fault.certain) == (line, True)
    assert said in fault.message
    assert fault.text == " ".join(text.split("\n")[line - 1].split())


@pytest.mark.parametrize(
    "text",
    [
        "{{ x | frobnicate }}",
        "{{ x is strin }}",
        "{% macro f(a=1, b) %}{% endmacro %}",
        "{% xyzzy %}",
        "{{" + "(" * 5000 + "1" + ")" * 5000 + "}}",
    ],
    ids=["filter", "test", "default", "tag", "deep"],
)
def test_what_another_jinja_may_take_is_a_doubt(text: str) -> None:
    """llama.cpp's own has other filters, tests and tags than jinja2."""
    fault = template_fault(text)
    assert fault is not None
    assert not fault.certain


@given(st.text(st.sampled_from("{}%# \n'\"()[]|ifendforset=xa-."), max_size=60))
def test_any_text_is_parsed_or_told(text: str) -> None:
    """No template, however strange, does more than be told of, with a line that it has."""
    fault = template_fault(text)
    assert fault is None or 1 <= fault.line <= text.count("\n") + 1
