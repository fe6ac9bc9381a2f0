"""The glossary: each word is explained shortly, and used elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
GLOSSARY = (DOCS / "glossary.md").read_text("utf-8")
ENTRIES = dict(re.findall(r"(?ms)^### (.+?)\n\n(.*?)(?=\n*^##|\Z)", GLOSSARY))
OTHERS = "\n".join(
    path.read_text("utf-8") for path in sorted(DOCS.glob("*.md")) if path.name != "glossary.md"
)


def test_the_glossary_has_the_words_that_one_meets_first() -> None:
    """What a plan, a chart and a comparison say of themselves is among them."""
    first = "cell launch trial build generation verdict outcome interval gate look round visit"
    first += " power paired backend axis store seed kind greedy phi"
    assert [word for word in first.split() if word not in ENTRIES] == []


@pytest.mark.parametrize("term", ENTRIES)
def test_a_term_is_used(term: str) -> None:
    """Each word of a term stands in another page; nobody needs one that does not."""
    for word in term.split(", "):
        pattern = re.escape(word).replace(r"\ ", "[ -]")
        assert re.search(rf"(?i)(?<!\w){pattern}", OTHERS), word


@pytest.mark.parametrize(("term", "text"), ENTRIES.items())
def test_a_term_is_explained_in_few_sentences(term: str, text: str) -> None:
    """Three sentences at most; the page that it links to has the rest."""
    sentences = re.findall(r"[.?!](?=\s|$)", text)
    assert 1 <= len(sentences) <= 3, term


def test_no_term_stands_twice() -> None:
    """Each heading is one term."""
    headings = re.findall(r"(?m)^### (.+)$", GLOSSARY)
    assert sorted(headings) == sorted(ENTRIES)
