"""Urls of servers that run already: what is seen to be wrong with one when the file is read."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from matrixbench.spec.nodes import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.spec.nodes import Document, Loc, Node

SCHEMES = ("http", "https")
EXAMPLE = "write it like http://127.0.0.1:8080/v1"


def url_findings(document: Document, meant: Mapping[Loc, str]) -> Iterator[Finding]:
    """Yield what is wrong with the backends' urls.

    Args:
        document: The file.
        meant: Where → a text with its variables filled in; urls that are not there were told of.
    """
    for name, entry in document.root.child_entries("backends").items():
        url, node = meant.get(("backends", name, "url")), entry.node.child("url")
        if url is not None and node is not None and (wrong := _trouble(url)):
            yield Finding(
                place=node.place,
                message=f"the url of the backend «{name}» {wrong}",
                hint=_hint(url, node),
            )


def _trouble(url: str) -> str:
    """Return what is wrong with a url, without the url: it may hold a secret."""
    if not url.strip():
        return "is empty"
    if not url.isprintable() or " " in url:
        return "holds a space, or a sign that cannot be printed"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # its text may quote from the url
        return "has a host or a port that is none"
    if parts.scheme not in SCHEMES or "://" not in url:
        return "does not begin with http:// or https://"
    if not parts.hostname:
        return "names no host"
    return "has the port 0" if port == 0 else ""


def _hint(url: str, node: Node) -> str:
    """Return how it may be meant; never what a variable stands for, or what may be a password."""
    if ":/" in url or url != node.text or "@" in url or not url.strip():
        return EXAMPLE
    return f"perhaps http://{url}"
