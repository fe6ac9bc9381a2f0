"""Files that a launch's options name, as its build tells of them: which have changed since."""

from __future__ import annotations

from hashlib import sha256
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matrixbench.records import Build, JsonObject

PROGRAM = "program"
OPTION_FILES = "option_files"
"""Details of a build whose launch names files: the server without them, and option and path → the
digest of what is there. A build whose launch names none has neither."""


def file_details(program: str, contents: Mapping[str, str]) -> JsonObject:
    """Return what a build's details say of files that options name; nothing where there are none.

    Args:
        program: The server's digest without the files.
        contents: Option and path, as written → the digest of what is there.
    """
    return {PROGRAM: program, OPTION_FILES: dict(contents)} if contents else {}


def with_contents(program: str, contents: Mapping[str, str]) -> str:
    """Return a server's digest together with the files that its options name.

    Without such files it is the server's own, so that the builds of old stores stay theirs. Paths
    do not count: which files they are stands in the cells' ids.
    """
    if not contents:
        return program
    parts = [(name.partition(" ")[0], content) for name, content in contents.items()]
    # Only by option: of several files in one, such as adapters, the order may matter.
    lines = [" ".join(part) for part in sorted(parts, key=itemgetter(0))]
    return sha256("\n".join([program, *lines]).encode()).hexdigest()


def contents_of(build: Build) -> Mapping[str, Any]:
    """Return option and path → digest of what was there, as a build tells."""
    found = build.details.get(OPTION_FILES)
    return found if isinstance(found, dict) else {}


def program_of(build: Build) -> str:
    """Return a build's server without the files that options name."""
    return str(build.details.get(PROGRAM, build.server))


def same_but_for_files(build: Build, other: Build) -> bool:
    """Return whether two builds differ in nothing but in files that options name."""
    one = (build.kind, program_of(build), build.model, build.device)
    return one == (other.kind, program_of(other), other.model, other.device)


def changed_files(build: Build, other: Build) -> tuple[str, ...]:
    """Return the files of a build, option and path, that held something else in another one."""
    now, then = contents_of(build), contents_of(other)
    return tuple(name for name in now if name in then and then[name] != now[name])
