"""What the site adds to the pages: those of the folder above, the decisions, the reference."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
REWRITTEN = {
    r"\]\(docs/": "](",  # in the pages of the folder above
    r"\]\((?:\.\./)?experiments/([\w-]+)\.yaml\)": r"](experiments.md#\1yaml)",
    r"\]\((?:\.\./)?README\.md#": "](quickstart.md#",
    r"\]\((?:\.\./)?CHANGELOG\.md": "](changelog.md",
    r"\]\((?:\.\./)?CONTRIBUTING\.md": "](contributing.md",
    r"(?m)^(!\[.*\]\((images/.*)\))$": r"[\1](\2)",  # a click shows the picture in full
}
"""What a page says for GitHub → what it says here."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List every decision in the navigation, below the page that lists them all."""
    (listed,) = (entry["Decisions"] for entry in config.nav or () if "Decisions" in entry)
    listed.extend(f"decisions/{path.name}" for path in sorted(ROOT.glob("docs/decisions/0*.md")))
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add pages of what lies beside `docs`: GitHub shows it, and a site would not."""
    readme = (ROOT / "README.md").read_text("utf-8")
    contents = {
        "quickstart.md": readme.replace("# matrixbench", "# Quickstart", 1),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text("utf-8"),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text("utf-8"),
        "experiments.md": _experiments(),
    }
    for name, content in contents.items():
        files.append(File.generated(config, name, content=content))
    return files


def _experiments() -> str:
    paths = sorted((ROOT / "experiments").glob("*.yaml"))
    blocks = [f"## {path.name}\n\n```yaml\n{path.read_text('utf-8')}```\n" for path in paths]
    return "\n".join(["# Experiments that ship\n", *blocks])


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links out of `docs` to their pages here, and write the reference where it belongs."""
    del page, config, files
    for there, here in REWRITTEN.items():
        markdown = re.sub(there, here, markdown)
    return re.sub(r"<!-- reference:\s([\w\s.]+?)\s-->", _reference, markdown)


def _reference(found: re.Match[str]) -> str:
    return "\n\n".join(f"::: {name}\n\n{_values(name)}" for name in found[1].split())


def _values(name: str) -> str:
    """Say an enum's values: their names are no use to whoever writes them in a file."""
    public = resolve_name(name)
    if not (isinstance(public, type) and issubclass(public, StrEnum)):
        return ""
    return f"Values: {', '.join(f'`{value}`' for value in public)}."
