"""Files that options name: which they are, and what stands in them."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from matrixbench.backends.build import model_files
from matrixbench.errors import ServerError
from matrixbench.spec.base import FILE, is_file_mark
from matrixbench.spec.paths import UnresolvedPathError, path_of
from matrixbench.spec.yaml_source import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from matrixbench.backends.build import FileHashes
    from matrixbench.records import JsonObject


class Use(StrEnum):
    """What a server does with what a path leads to."""

    CONTENT = "content"
    """It is read and may decide the answer: it must be there, and belongs to the build."""

    READ = "read"
    """It is read and decides no answer: it must be there."""

    WRITTEN = "written"
    """It is made or changed by the server: it need not be there, and is no part of the build."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathOption:
    """How an option's value names files.

    Args:
        use: What the server does with them.
        several: Whether a comma parts several of them.
        scaled: Whether each may be followed by a colon and a number.
        folder: Whether a folder may be named.
    """

    use: Use
    several: bool = False
    scaled: bool = False
    folder: bool = False


PathOptions: TypeAlias = "Callable[[str], PathOption | None]"
"""Option → how its texts name files; None where they name none."""

GONE_ON = "--resume goes on with what is there now, as another build."

_MARKED = PathOption(use=Use.CONTENT, folder=True)
"""What `{file: …}` means in an option of which nothing else is known."""

_SCALED = re.compile(r"(?P<path>.+):(?P<scale>[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionFile:
    """A file or folder that an option names.

    Args:
        option: The option.
        text: Its path, as the file writes it.
        path: Where that is.
        kind: What the server does with it, and whether it may be a folder.
    """

    option: str
    text: str
    path: Path
    kind: PathOption

    @property
    def name(self) -> str:
        """What people and build details call it."""
        return f"{self.option} {self.text}"

    @property
    def fault(self) -> OptionFault | None:
        """What keeps a server from reading it; None where nothing does, or it is written to."""
        message = hint = ""
        if self.kind.use is Use.WRITTEN:
            return None
        if not self.path.exists():
            message, hint = f"there is no file {self.path}", beside(self.path)
        elif self.path.is_dir() and not self.kind.folder:
            message = f"{self.path} is a folder, not a file"
        elif not os.access(self.path, os.R_OK):
            message, hint = f"{self.path} cannot be read", "look at its permissions"
        if not message:
            return None
        return OptionFault(option=self.option, text=self.text, message=message, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionFault:
    """What is wrong with a path of an option.

    Args:
        option: The option.
        text: What it says, as the file writes it; empty where that is no text.
        message: What is wrong.
        hint: What to do.
    """

    option: str
    text: str
    message: str
    hint: str = ""

    @property
    def told(self) -> str:
        """The fault in one line, with its option."""
        return f"option {self.option}: {self.message}"

    @property
    def error(self) -> ServerError:
        """The error that ends the launch."""
        return ServerError(self.message, where=f"option {self.option}", hint=self.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """A launch's options as its server is given them.

    Args:
        options: The options, with absolute paths.
        files: What they name, in their order.
        faults: What is wrong with how they name it.
    """

    options: JsonObject
    files: tuple[OptionFile, ...] = ()
    faults: tuple[OptionFault, ...] = ()

    def missing(self) -> tuple[OptionFault, ...]:
        """Return everything that keeps a server from reading what it is given, seen now."""
        return (*self.faults, *(fault for file in self.files if (fault := file.fault)))


def marked_only(_: str) -> None:
    """Return None: but for `{file: …}`, the texts of these options are no paths of ours."""


def meant(
    options: Mapping[str, Any], kinds: PathOptions, *, base: Path, environ: Mapping[str, str]
) -> Meant:
    """Return options with their paths made absolute, and the files that they name.

    Args:
        options: Option → value.
        kinds: Which options' texts are paths; `{file: …}` is one in any of them.
        base: The folder that relative paths start from.
        environ: The environment; `HOME` gives the meaning of `~`.
    """
    reading = _Reading(base=base, environ=environ)
    resolved = {name: reading.value(name, value, kinds(name)) for name, value in options.items()}
    return Meant(options=resolved, files=tuple(reading.files), faults=tuple(reading.faults))


@dataclass(slots=True, kw_only=True)
class _Reading:
    """Reads the values of options, and collects what they name."""

    base: Path
    environ: Mapping[str, str]
    files: list[OptionFile] = field(default_factory=list)
    faults: list[OptionFault] = field(default_factory=list)

    def value(self, option: str, value: Any, kind: PathOption | None) -> Any:
        """Return a value with its paths made absolute."""
        match value:
            case dict() if is_file_mark(value):
                return self._marked(option, value[FILE], kind)
            case dict():
                # A mapping becomes JSON, whose texts are no paths unless they are marked.
                return {key: self.value(option, item, None) for key, item in value.items()}
            case list() | tuple():
                items = _with_scales(value) if kind is not None and kind.scaled else value
                return [self.value(option, item, kind) for item in items]
            case str() if kind is not None:
                texts = [text.strip() for text in _parted(value)] if kind.several else [value]
                return ",".join(self._item(option, text, kind) for text in texts)
            case _:
                return value

    def _marked(self, option: str, text: object, kind: PathOption | None) -> str:
        if isinstance(text, str):
            return self._item(option, text, kind or _MARKED)
        message, hint = "`file` takes one path", "several are a list: [{file: …}, {file: …}]"
        self.faults.append(OptionFault(option=option, text="", message=message, hint=hint))
        return ""

    def _item(self, option: str, text: str, kind: PathOption) -> str:
        scaled = _SCALED.fullmatch(text) if kind.scaled else None
        written = scaled["path"] if scaled else text
        try:
            path = path_of(written, base=self.base, environ=self.environ)
        except UnresolvedPathError as problem:
            self._tell(option, written, problem.message, problem.hint)
            return text
        self.files.append(OptionFile(option=option, text=written, path=path, kind=kind))
        if kind.scaled and ":" in str(path):
            self._tell(
                option,
                written,
                f"{path} holds a colon, after which the server expects the scale",
                "move the file, or make a link to it elsewhere",
            )
        given = f"{path}:{scaled['scale']}" if scaled else str(path)
        return _quoted(given) if kind.several else given

    def _tell(self, option: str, text: str, message: str, hint: str) -> None:
        self.faults.append(OptionFault(option=option, text=text, message=message, hint=hint))


def _with_scales(values: Iterable[Any]) -> list[Any]:
    """Return a list in which a number behind a path has become the path's scale."""
    joined: list[Any] = []
    for value in values:
        is_scale = isinstance(value, int | float) and not isinstance(value, bool)
        before: Any = joined[-1] if joined else None
        before = before[FILE] if is_file_mark(before) else before
        if is_scale and isinstance(before, str) and not _SCALED.fullmatch(before):
            joined[-1] = f"{before}:{value}"
        else:
            joined.append(value)
    return joined


def _parted(text: str) -> list[str]:
    """Return what commas part, as llama.cpp reads it: one inside of double quotes parts nothing."""
    return next(csv.reader([text], strict=False), [text])


def _quoted(text: str) -> str:
    """Return an item of such a list, in quotes where it needs them."""
    written = io.StringIO()
    csv.writer(written, lineterminator="").writerow([text])
    return written.getvalue()


def file_contents(files: Sequence[OptionFile], hashes: FileHashes) -> dict[str, str]:
    """Return option and path → the digest of what is there, of files that may decide an answer.

    Raises:
        ServerError: One is missing or cannot be read.
    """
    found: dict[str, str] = {}
    for file in files:
        if file.kind.use is not Use.CONTENT:
            continue
        if (fault := file.fault) is not None:
            raise fault.error
        try:
            found[file.name] = _digest(file.path, hashes)
        except OSError as error:
            what = f"{file.path} cannot be read: {error.strerror or error}"
            raise ServerError(what, where=f"option {file.option}") from error
    return found


def _digest(path: Path, hashes: FileHashes) -> str:
    """Return the digest of a file, of a split model's files together, or of a folder's."""
    if not path.is_dir():
        return hashes.model_sha256(model_files(path))
    lines = [
        f"{file.relative_to(path).as_posix()} {hashes.model_sha256((file,))}"
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    return sha256("\n".join(lines).encode()).hexdigest()


def check_contents(launch: str, then: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Hold what options name against what the launch's trials belong to.

    A server that is started again reads what is there by then.

    Raises:
        ServerError: A file has changed.
    """
    changed = [name for name, content in now.items() if content != then.get(name)]
    if changed:
        raise ServerError(
            f"{launch}: a file that an option names has changed since the launch began: "
            f"{', '.join(changed)}",
            hint=GONE_ON,
        )
