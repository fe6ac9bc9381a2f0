"""The site: nothing is loaded from elsewhere, every page is found, every link leads somewhere."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

import matrixbench

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

LOADED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "embed": "src",
    "object": "data",
    "form": "action",
    "link": "href",
}
"""Element → the attribute that a browser follows by itself."""


class Page(HTMLParser):
    """What a page of the site holds."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.navigation: list[str] = []
        self.ids: set[str] = set()
        self.elements: Counter[str] = Counter()
        self._in_article = False
        self._in_navigation = False
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what is loaded, linked and named, and count what the page's own text is made of."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag in LOADED and LOADED[tag] in given:
            self.loaded.append(given[LOADED[tag]])
        if tag == "nav" and "md-nav--primary" in given.get("class", ""):
            self._in_navigation = True
        if tag == "article":
            self._in_article = True
            self._in_navigation = False
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
            if self._in_navigation:
                self.navigation.append(given["href"])
        if self._in_article:
            self.elements[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        """Note where the page's own text ends."""
        if tag == "article":
            self._in_article = False


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Page]:
    """Every page of the site, by its path; a report that is shown as a picture is none."""
    found = sorted(site.rglob("*.html"))
    apart = {site / "404.html", *(site / "images").iterdir()}
    return {path: Page(path) for path in found if path not in apart}


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    """Scripts, styles, fonts and pictures are files of the site itself."""
    for path, page in pages.items():
        assert [url for url in page.loaded if urlsplit(url).scheme not in ("", "data")] == [], path
        assert [url for url in page.loaded if url.startswith("//")] == [], path
    for path in site.rglob("*.css"):
        text = path.read_text("utf-8")
        assert re.findall(r"@import|url\(['\"]?(?:https?:)?//", text) == [], path


def written(site: Path, pages: dict[Path, Page]) -> set[Path]:
    """Return the pages that are written, and not pictures: a report is a page of its own."""
    return {path for path in pages if not path.is_relative_to(site / "images")}


def test_search_works_without_a_server(site: Path, pages: dict[Path, Page]) -> None:
    """The index is a script, and each page has the stand-in for workers that `file://` lacks."""
    assert (site / "search" / "search_index.js").read_text("utf-8").startswith("var __index = {")
    for path in written(site, pages):
        page = pages[path]
        assert any(url.endswith("assets/iframe-worker.js") for url in page.loaded), path
    assert (site / "assets" / "iframe-worker.js").exists()


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    """A link names a file of the site, and what stands behind its `#` is there."""
    for path, page in pages.items():
        for link in page.links:
            url = urlsplit(link)
            if url.scheme:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            assert target.is_relative_to(site.resolve()), f"{path}: {link}"
            assert target.exists(), f"{path}: {link}"
            if url.fragment and target.suffix == ".html":
                assert unquote(url.fragment) in pages[site / target.relative_to(site)].ids, (
                    f"{path}: {link}"
                )


def test_the_navigation_names_every_page(site: Path, pages: dict[Path, Page]) -> None:
    """What is written is found, from the first page on."""
    named = {site / url for url in pages[site / "index.html"].navigation if "#" not in url}
    assert named == written(site, pages)


def test_the_navigation_begins_with_the_readers_question(
    site: Path, pages: dict[Path, Page]
) -> None:
    """Pages stand in the order in which one asks, not in that of the alphabet."""
    named = [url for url in pages[site / "index.html"].navigation if "#" not in url]
    asked = ["question", "experiment-file", "servers", "checks", "running", "looking"]
    asked += ["comparing", "statistics", "glossary", "decisions/index"]
    places = [named.index(f"{name}.html") for name in asked]
    assert places == sorted(places)


def test_the_reference_has_every_public_name(site: Path, pages: dict[Path, Page]) -> None:
    """Each name of `import matrixbench` has its entry, made from its docstring."""
    ids = pages[site / "api.html"].ids
    assert [name for name in matrixbench.__all__ if f"matrixbench.{name}" not in ids] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_are_the_same_as_on_github(path: Path, site: Path, pages: dict[Path, Page]) -> None:
    """Lists, tables, code and paragraphs come out as CommonMark reads them."""
    if path.stem == "api":
        return  # what it holds here is written when the site is built
    there = MarkdownIt("commonmark").enable("table").render(path.read_text("utf-8"))
    here = pages[site / path.relative_to(DOCS).with_suffix(".html").with_name(_name(path))].elements
    for tag in ("ul", "ol", "li", "table", "tr", "td", "th", "pre", "p", "strong", "em", "img"):
        assert (tag, here[tag]) == (tag, len(re.findall(rf"<{tag}[ >]", there)))


def _name(path: Path) -> str:
    return "index.html" if path.stem == "README" else f"{path.stem}.html"


def test_the_built_site_is_never_committed() -> None:
    """Where the README's line puts it, git does not look."""
    config = (DOCS / "site" / "mkdocs.yml").read_text("utf-8")
    assert "site_dir: ../../build/site" in config
    assert "build/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
