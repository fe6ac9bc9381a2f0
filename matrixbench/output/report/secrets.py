"""Secrets that an experiment's servers are asked with, looked for in everything a report holds."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matrixbench.backends.secrecy import MASK, Secrets

if TYPE_CHECKING:
    from matrixbench.results.experiment import Results

_SECRET = re.compile(r"key|token|secret|password|credential|auth", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Kept:
    """Texts that must not be in a page, the longest first."""

    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, results: Results) -> Kept:
        """Return what is secret in an experiment's file, and in the variables that it names."""
        if results.prepared is None:
            return cls()
        texts: set[str] = set()
        for backend in results.prepared.experiment.file.backends.values():
            key = os.environ.get(getattr(backend, "api_key_env", None) or "")
            found = [key, *(v for n, v in getattr(backend, "env", {}).items() if _SECRET.search(n))]
            url = getattr(backend, "url", None) or ""
            for secret in found or [None]:
                texts.update(Secrets.of(url, secret).texts)
        return cls(tuple(sorted(texts, key=lambda text: (-len(text), text))))

    def masked(self, value: Any) -> Any:
        """Return JSON data in which no secret is left."""
        if not self.texts or not self._in(json.dumps(value, ensure_ascii=False)):
            return value
        match value:
            case str():
                for text in self.texts:
                    value = value.replace(text, MASK)
                return value
            case dict():
                return {self.masked(name): self.masked(item) for name, item in value.items()}
            case list() | tuple():
                return [self.masked(item) for item in value]
            case _:
                return value

    def _in(self, text: str) -> bool:
        return any(secret in text for secret in self.texts)
