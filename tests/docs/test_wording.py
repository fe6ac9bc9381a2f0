"""The pages are written for readers whose first language is another: one thought a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(
    path
    for path in DOCS.rglob("*.md")
    if path.parent.name != "decisions" and path.name != "refusals.md"
)
"""Not the decisions, which are kept as they were taken, and not `refusals.md`, which is written
from a table in the code."""

MOST_SEMICOLONS = 4
"""In 100 sentences: as in the pages of cibuildwheel (nox has 6, hyperfine 0)."""

HOME_MADE = (
    r"held against|way out|foresight|spared|absolve|(?:is|are) told|figures?\b|own checks?\b"
)
"""Our own words for compared with, what to do, power, skipped, forgive, is reported, metrics and
Python checks."""


def prose(text: str) -> str:
    """Return what is left of a page without its code and its tables."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", text)
    text = re.sub(r"(?m)^\|.*$|^ {4}.*$", "", text)
    return re.sub(r"`[^`]*`", "code", text)


def semicolons_of_100(text: str) -> float:
    """Return how many semicolons a page has in 100 sentences of its prose."""
    written = prose(text)
    sentences = len(re.findall(r"[.!?:][)»*]*(?=\s|$)", written))
    return 100 * written.count(";") / max(sentences, 1)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_one_thought_a_sentence(page: Path) -> None:
    """A page has few semicolons outside its code and its tables."""
    assert semicolons_of_100(page.read_text("utf-8")) <= MOST_SEMICOLONS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_words_are_the_fields(page: Path) -> None:
    """No page has a word of our own for a thing that has a name."""
    assert re.findall(HOME_MADE, prose(page.read_text("utf-8"))) == []
