"""The page's filter and its diff give what Python gives: held against it, example by example."""

from __future__ import annotations

import difflib
import re
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.errors import UsageError
from matrixbench.output.report.content import told_value
from matrixbench.output.report.page import scope
from matrixbench.plan.selector import parse_where
from matrixbench.spec.axes import Several
from tests.properties import examples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

VALUES: dict[str, list[Any]] = {
    "temperature": [None, 0, 0.3, 1, 1.0, 1.5, -2],
    "model": ["qwen-7b", "qwen-0.5b", "a.b*c", "Été_1", "[x]", "true"],
    "options.flash": [True, False, None, 1, "on"],
    "request.stop": [["a"], [], {"a": 1}, {}],
    "tag": [Several(()), Several(("slow",)), Several(("slow", "tools"))],
}
CELLS = [dict(zip(VALUES, point, strict=True)) for point in product(*VALUES.values())][::7]

_WORDS = """
0 1 1.0 .3 +1 1e0 -2 true false null NaN qwen-7b on qwen-* *b ?wen-7b a.b[*]c [!q]* [a-q]* [z-a]*
[]x]* [ [x] slow {} [] [1] Été_1 'a' "qwen-0.5b" '1' '[[]x]'
"""
_PATTERNS = r"""
qwen ^q '\d$' '^\w+$' '[\d]b' '(?i)QWEN' '\Aq' 'b|c' '\.5' '^[^q]' 'a\.b\*' null 1 '(?P<n>b)\Z'
'\W' 'e{2}' '}' '\S+' '[\w.-]+' '-7'
"""
WORDS = st.sampled_from(_WORDS.split())
PATTERNS = st.sampled_from(_PATTERNS.split())


def _comparisons() -> st.SearchStrategy[str]:
    axes = st.sampled_from(list(VALUES))
    equal = st.builds("{}{}{}".format, axes, st.sampled_from(["=", "==", "!="]), WORDS)
    order = st.builds(
        "{} {} {}".format,
        axes,
        st.sampled_from(["<", "<=", ">", ">="]),
        st.sampled_from(["0", "1", "0.3", "-1.5"]),
    )
    found = st.builds("{}{}{}".format, axes, st.sampled_from(["=~", "!~"]), PATTERNS)
    listed = st.builds(
        lambda axis, values: f"{axis} in ({', '.join(values)})",
        axes,
        st.lists(WORDS, min_size=1, max_size=3),
    )
    return equal | order | found | listed


EXPRESSIONS = st.recursive(
    _comparisons(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" and ".join),
        st.tuples(inner, inner).map(" or ".join),
        inner.map("not {}".format),
        inner.map("({})".format),
    ),
    max_leaves=5,
)
BROKEN = st.text(alphabet="temperaumodl=~!<>(),'\" and or not in 01", max_size=24)

SELECT = """(text) => {
    try {
        const selected = whereModule.parseWhere(text, Object.keys(cells[0]));
        return cells.map((cell) => selected((axis) => cell[axis]));
    } catch (reason) {
        if (!(reason instanceof whereModule.WhereError)) throw reason;
        return null;
    }
}"""


@pytest.fixture(scope="module")
def modules(browser: Browser) -> Iterator[Page]:
    """Return a page that holds the modules and the cells, and nothing else."""
    page = browser.new_page()
    told = [
        {
            axis: [told_value(one) for one in (value if isinstance(value, Several) else [value])]
            for axis, value in cell.items()
        }
        for cell in CELLS
    ]
    names = ("where", "diff")
    page.add_script_tag(content="".join(scope(name) for name in names))
    page.evaluate("(told) => { window.cells = told; }", told)
    yield page
    page.close()


def selected(text: str) -> list[bool] | None:
    """Return which cells Python selects; None where the expression is wrong."""
    try:
        return [*map(parse_where(text, VALUES), CELLS)] if text.strip() else [True] * len(CELLS)
    except UsageError:
        return None


@examples(200)
@given(text=EXPRESSIONS)
def test_the_filter_selects_what_where_selects(modules: Page, text: str) -> None:
    """Every expression of the language chooses the same cells in the page and on the terminal."""
    assert modules.evaluate(SELECT, text) == selected(text)


@examples(150)
@given(text=BROKEN)
def test_what_cannot_be_read_cannot_be_read_there_either(modules: Page, text: str) -> None:
    """What one of the two refuses, the other refuses too."""
    assert (modules.evaluate(SELECT, text) is None) == (selected(text) is None)


TEXTS = st.text(alphabet="ab ,.\nÉ1", max_size=40) | st.lists(
    st.sampled_from(["the", "cat", "sat", " ", "  ", "\n", ".", "é", "👍", "_x1"]), max_size=60
).map("".join)

PARTS = re.compile(r"\w+|\s+|[^\w\s]")


@examples(150)
@given(left=TEXTS, right=TEXTS)
def test_the_diff_is_that_of_difflib(modules: Page, left: str, right: str) -> None:
    """Two texts are split into the same words, and differ in the same places."""
    parts = PARTS.findall(left), PARTS.findall(right)
    split = modules.evaluate("(texts) => texts.map(diffModule.words)", [left, right])
    assert split == [*parts]
    matcher = difflib.SequenceMatcher(None, *parts, autojunk=False)
    told = modules.evaluate("([a, b]) => diffModule.opcodes(a, b)", split)
    assert [tuple(one) for one in told] == matcher.get_opcodes()
    shown = modules.evaluate("([a, b]) => diffModule.difference(a, b).parts", [left, right])
    for whole, side in ((left, "left"), (right, "right")):
        assert "".join(one["text"] for one in shown if one["side"] in {side, "both"}) == whole
