"""What an experiment's file uses, and what of it somebody has accepted before.

What was accepted lies in the user's cache, a file for each experiment, known by its path: whoever
hands on an experiment, with its store or without, hands on no trust in it.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from matrixbench.backends.build import FileHashes
from matrixbench.backends.registry import Surroundings, server_of
from matrixbench.checks.own_files import module_uses
from matrixbench.errors import ServerError
from matrixbench.safe_files import PRIVATE, open_input, write_whole
from matrixbench.spec.checks import NamedCheck, PythonCheck, every_check
from matrixbench.spec.trust import Key, Use, UseKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from matrixbench.execution.settings import Settings
    from matrixbench.spec.load import Experiment

TRUST_VARIABLE = "MATRIXBENCH_TRUST"
"""Set to 1, everything may run, and nothing is remembered."""

_VERSION = 1
_MOST_BYTES = 10_000_000
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def uses_of(experiment: Experiment, settings: Settings) -> tuple[Use, ...]:
    """Return what a file uses, in its order, each once; nothing of it is run."""
    found: dict[Key, Use] = {}
    for use in _uses(experiment, settings):
        known = found.get(use.key)
        if known is None:
            found[use.key] = use
        elif use.by not in known.by.split(", "):
            found[use.key] = replace(known, by=f"{known.by}, {use.by}")
    return tuple(found.values())


def _uses(experiment: Experiment, settings: Settings) -> Iterator[Use]:
    models = experiment.file.models
    yield from _of_backends(experiment, settings)
    yield from _of_checks(experiment)
    for name in experiment.variables:
        yield Use(kind=UseKind.VARIABLE, name=name, by="paths and urls")
    for name, model in models.items():
        source = model.hf or (model.package and f"{model.package.name} {model.package.version}")
        if source and model.gguf is None:
            yield Use(kind=UseKind.FETCHES, name=source, by=f"model {name}", free="it is only read")


def _of_backends(experiment: Experiment, settings: Settings) -> Iterator[Use]:
    around = Surroundings(
        environ=settings.environ, hashes=FileHashes(None), here=settings.here, trust=settings.trust
    )
    for name, backend in experiment.file.backends.items():
        models = experiment.file.models.values()
        served = [model for model in models if name in (model.backends or [name])]
        with contextlib.suppress(ServerError):  # whoever runs it is told
            for use in server_of(backend).uses(served, around):
                yield replace(use, by=f"backend {name}")


def _of_checks(experiment: Experiment) -> Iterator[Use]:
    modules: dict[tuple[str, Path | None], None] = {}
    named: dict[str, None] = {}
    for test in experiment.tests:
        for _, check in every_check(test.expect):
            if isinstance(check, PythonCheck):
                modules[check.python.partition(":")[0], test.origin.folder] = None
            elif isinstance(check, NamedCheck):
                named[check.check] = None
    for module, folder in modules:
        for use in module_uses(module, folder):
            yield replace(use, by=f"python: {module}")
    for name in named:
        by = f"check: {name}"
        yield Use(kind=UseKind.MODULE, name=name, by=by, free="of an installed package")


def has_to_be_trusted(uses: Iterable[Use]) -> list[Use]:
    """Return those of some uses that somebody has to trust."""
    return [use for use in uses if not use.free]


def accepted_for(experiment: Experiment, settings: Settings) -> frozenset[Key]:
    """Return what was accepted for a file; nothing where others may have written it down."""
    data: Any = None
    with contextlib.suppress(OSError, ValueError), open_input(_place(experiment, settings)) as file:
        about = os.fstat(file.fileno())
        if about.st_uid == os.geteuid() and not about.st_mode & _OTHERS_WRITE:
            data = json.loads(file.read(_MOST_BYTES))
    if not isinstance(data, dict) or data.get("version") != _VERSION:
        return frozenset()
    if data.get("file") != str(experiment.path):
        return frozenset()
    listed = data.get("accepted")
    return frozenset(
        Key(*item)
        for item in (listed if isinstance(listed, list) else ())
        if isinstance(item, list) and len(item) == len(Key._fields) and _are_texts(item)
    )


def _are_texts(item: list[Any]) -> bool:
    return all(isinstance(part, str) for part in item)


def accept(experiment: Experiment, settings: Settings, uses: Iterable[Use]) -> None:
    """Keep that what a file uses was accepted; of what counts by content the present one alone.

    What was accepted before stays: who takes a line out and puts it back is not asked again.

    Raises:
        OSError: The cache cannot be written.
    """
    keys = {use.key for use in has_to_be_trusted(uses)}
    names = {(key.kind, key.name) for key in keys}
    before = accepted_for(experiment, settings)
    keys |= {key for key in before if (key.kind, key.name) not in names}
    if keys == before:
        return
    data = {
        "version": _VERSION,
        "file": str(experiment.path),
        "accepted": sorted(list(key) for key in keys),
    }
    path = _place(experiment, settings)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    text = json.dumps(data, ensure_ascii=False, indent=1)
    write_whole(path, text.encode("utf-8", "surrogatepass"), mode=PRIVATE)


def _place(experiment: Experiment, settings: Settings) -> Path:
    name = sha256(os.fsencode(experiment.path)).hexdigest()[:32]
    return settings.cache / "trust" / f"{name}.json"
