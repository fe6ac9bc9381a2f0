"""Secrets that a server is asked with, kept out of everything that it answers.

Servers echo what they are sent, in errors above all; what they answer is stored. Whatever could
hold a secret is looked at before anybody else sees it.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from matrixbench.identity import digest
from matrixbench.records import Timing

MASK = "***"

SHORTEST = 8
"""A shorter text is no secret (local servers are asked with keys such as `none`), and masking it
would change what models say."""

LONG = 16
"""A query's value as long as this may be a secret, whatever its name."""

_SECRET_NAME = re.compile(r"key|token|secret|sig|pass|auth|cred|code", re.IGNORECASE)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Secrets:
    """Texts that must not be kept, the longest first."""

    texts: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, url: str, key: str | None = None) -> Secrets:
        """Return what is secret in a url and a key: password or token, values of its query.

        Each is meant as it is, as a url and as JSON write it, and together as a header carries it.
        """
        parts = urlsplit(url)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        # A user beside a password is a name; alone it is a token.
        bare = [key or "", password or user]
        bare += [value for name, value in parse_qsl(parts.query) if _is_secret(name, value)]
        if user or password:
            bare.append(b64encode(f"{user}:{password}".encode()).decode())
        written = {
            form
            for text in bare
            if len(text) >= SHORTEST
            for form in (text, quote(text), quote(text, safe=""), *_in_json(text))
        }
        return cls(tuple(sorted(written, key=lambda text: (-len(text), text))))

    def masked(self, body: bytes) -> bytes:
        """Return a body without secrets."""
        for text in self.texts:
            body = body.replace(text.encode(), MASK.encode())
        return body

    def taken_out(self, value: Any) -> Any:
        """Return JSON data without secrets, in keys as well."""
        match value:
            case str():
                for text in self.texts:
                    value = value.replace(text, MASK)
                return value
            case dict():
                return {self.taken_out(name): self.taken_out(item) for name, item in value.items()}
            case list() | tuple():
                return type(value)(self.taken_out(item) for item in value)
            case _:
                return value

    def left_out(self, record: _Value) -> _Value:
        """Return a record (a frozen dataclass of texts, JSON and such records) without secrets.

        A secret that a stream cuts in two is whole only here.
        """
        if not self.texts or not is_dataclass(record) or isinstance(record, type):
            return record
        changed = {part.name: self._of_part(getattr(record, part.name)) for part in fields(record)}
        return replace(record, **changed)

    def _of_part(self, value: Any) -> Any:
        if isinstance(value, Timing):
            return value
        if is_dataclass(value):
            return self.left_out(value)
        if isinstance(value, tuple):
            return tuple(self.left_out(item) for item in value)
        # Enumerations are texts as well, and hold none of ours.
        return self.taken_out(value) if type(value) in {str, dict, list} else value


def told_query(url: str) -> list[tuple[str, str]]:
    """Return a url's query in alphabetical order as it may be kept.

    A gateway may choose the server by it. A secret is masked, so that a new key is no new server;
    of a long value, which may be one, a digest stands for it.
    """
    return sorted(
        (
            name,
            MASK if _SECRET_NAME.search(name) else digest(value) if len(value) >= LONG else value,
        )
        for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True)
    )


def _is_secret(name: str, value: str) -> bool:
    """Return whether a query's value may be one; an API's version, for one, is none."""
    return len(value) >= LONG or _SECRET_NAME.search(name) is not None


def _in_json(text: str) -> tuple[str, ...]:
    plain = json.dumps(text)[1:-1]
    return plain, plain.replace("/", "\\/")
