"""Where a running server is, and with which key it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from matrixbench.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an endpoint is.

    Args:
        url: The API's base as it is asked, with whatever secrets it holds.
        shown: The same without user, password and query, for messages and records.
        key: The API key, or None.
        key_env: The name of the variable that holds it, or None.
    """

    url: str = field(repr=False)
    shown: str
    key: str | None = field(default=None, repr=False)
    key_env: str | None = None


def beside(base: str, path: str) -> str:
    """Return the url of a page under an API's base; a query of the base stays.

    Raises:
        ValueError: The base is no url.
    """
    parts = urlsplit(base)
    return parts._replace(path=parts.path.rstrip("/") + path, fragment="").geturl()


def root_of(base: str) -> str:
    """Return what comes before the `/v1` of an API's base."""
    parts = urlsplit(base)
    return parts._replace(path=parts.path.rstrip("/").removesuffix("/v1")).geturl()


def shown_url(url: str) -> str:
    """Return a url without user, password and query, for messages and records.

    Raises:
        ServerError: It is no http url.
    """
    _, shown = _parsed(url, "url", example="http://127.0.0.1:11434")
    return shown


def address_of(url: str, name: str | None, environ: Mapping[str, str]) -> Address:
    """Return where an endpoint is, and its key.

    Args:
        name: The variable that holds the key; None where there is none.

    Raises:
        ServerError: The url is none, or the variable with the key is missing or holds none.
    """
    parts, shown = _parsed(url, "endpoint's url", example="http://127.0.0.1:8080/v1")
    if name is None:
        return Address(url=url, shown=shown)
    if parts.username is not None:
        raise ServerError(
            "the url holds a user and there is a key as well; a request can carry only one",
            where=shown,
            hint="take the user out of the url, or api_key_env out of the backend",
        )
    return Address(url=url, shown=shown, key=_key(name, environ, shown), key_env=name)


def _parsed(url: str, what: str, *, example: str) -> tuple[SplitResult, str]:
    """Return the parts of an http url, and the url as it may be shown."""
    try:
        parts = urlsplit(url)
        shown = _shown(parts)
    except ValueError:
        parts, shown = SplitResult("", "", "", "", ""), ""
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ServerError(
            f"the {what} is not an http url", where=shown, hint=f"write it like {example}"
        )
    return parts, shown


def _shown(parts: SplitResult) -> str:
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def _key(name: str, environ: Mapping[str, str], shown: str) -> str:
    key = environ.get(name, "").strip()
    if not key:
        raise ServerError(
            f"the environment variable {name} is not set",
            where=shown,
            hint=f"export {name}=… with the server's API key, or take api_key_env out",
        )
    if not (key.isascii() and key.isprintable()):
        raise ServerError(
            f"the environment variable {name} holds characters that no header can carry",
            where=shown,
            hint=f"set {name} to the key alone",
        )
    return key


PAGES = ("chat/completions", "completions", "chat", "responses", "models", "messages", "embeddings")
"""Pages of chat APIs that are taken for its base; a longer one comes before its end."""


def base_of(url: str) -> str | None:
    """Return a url without the page of the chat API that it ends in; None where it ends in none."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    page = next((page for page in PAGES if path.endswith(f"/{page}")), None)
    if page is None:
        return None
    return parts._replace(path=path.removesuffix(f"/{page}"), query="", fragment="").geturl()


def other_form(url: str) -> str:
    """Return the url that may have been meant: without a page's path, with `/v1`, or without it."""
    base = base_of(url)
    if base is not None:
        return base
    root = root_of(url)
    return root if root.rstrip("/") != url.rstrip("/") else beside(url, "/v1")
