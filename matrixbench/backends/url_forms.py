"""The other form of a chat API's url: people write it with a page's path, or leave `/v1` out."""

from __future__ import annotations

from matrixbench.backends.address import beside, root_of
from matrixbench.spec.doubtful import base_of


def other_form(url: str) -> str:
    """Return the url that may have been meant: without a page's path, with `/v1`, or without it."""
    base = base_of(url)
    if base is not None:
        return base
    root = root_of(url)
    return root if root.rstrip("/") != url.rstrip("/") else beside(url, "/v1")
