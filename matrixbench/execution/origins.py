"""Where launches' servers come from, as the file says it and this machine has it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never
from urllib.parse import urlsplit

from matrixbench.identity import digest
from matrixbench.plan.origin import Origin
from matrixbench.spec.backends import (
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
    ScriptedBackend,
)

if TYPE_CHECKING:
    from pathlib import Path

    from matrixbench.errors import MatrixbenchError
    from matrixbench.plan.cells import Launch


def origin_in_file(launch: Launch) -> Origin:
    """Return what the file alone says of where a launch's server comes from."""
    spec = launch.spec
    origin = Origin(kind=spec.kind, replica=spec.replica)
    match spec:
        case LlamaServerBackend() | CommandBackend():
            return replace(origin, env=_digests(spec.env))
        case OllamaBackend():
            from matrixbench.backends.address import root_of  # noqa: PLC0415  only here

            origin = replace(origin, env=_digests(spec.env))
            return origin if spec.url is None else _attached(origin, root_of(spec.url))
        case EndpointBackend():
            return _attached(origin, spec.url)
        case ScriptedBackend():
            return origin
        case _:
            assert_never(spec)


def _attached(origin: Origin, url: str) -> Origin:
    from matrixbench.backends.address import shown_url  # noqa: PLC0415  only where a server runs

    parts = urlsplit(url)
    rest = [parts.username, parts.password, parts.query or None]
    hidden = digest(rest) if any(part is not None for part in rest) else ""
    return replace(origin, url=shown_url(url), url_rest=hidden)


def _digests(env: dict[str, str]) -> dict[str, str]:
    """Return variable → digest of its value: somebody may have written a secret into the file."""
    return {name: digest([name, value]) for name, value in env.items()}


def at_file(origin: Origin, path: Path) -> Origin:
    """Return an origin whose server is this executable."""
    with contextlib.suppress(OSError):
        real = path.resolve(strict=True)
        found = real.stat()
        return replace(origin, binary=str(real), size=found.st_size, modified_ns=found.st_mtime_ns)
    return replace(origin, binary=str(path))


def lacking(origin: Origin, what: str | MatrixbenchError | OSError) -> Origin:
    """Return an origin of which something is not on this machine."""
    named = getattr(what, "where", "")
    note = str(what).partition("\n")[0]
    return replace(origin, binary=origin.binary or named, missing=note)
