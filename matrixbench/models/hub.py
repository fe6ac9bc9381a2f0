"""Models on a Hugging Face hub: which files are meant, fetched into its own cache."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any

from matrixbench.errors import ModelError
from matrixbench.models import hub_worker
from matrixbench.models.gguf import SPLIT, split_names
from matrixbench.models.hub_worker import SIGN
from matrixbench.models.workers import FetchProgress, ModelFiles, run_child

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matrixbench.models.workers import Report

DEFAULT_QUANTS = ("Q4_K_M", "Q8_0")

COMPANIONS = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
"""Parts of names of files that go with a model and are none."""

MOST_LISTED = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """`user/repo[:quant]`.

    Args:
        repo: The repository, `user/repo`.
        quant: The quant as it was written, or None.
    """

    repo: str
    quant: str | None

    def __str__(self) -> str:
        return self.repo if self.quant is None else f"{self.repo}:{self.quant}"


_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_REFERENCE = re.compile(rf"({_NAME}/{_NAME})(?::({_NAME}))?")


def parse_reference(text: str) -> Reference:
    """Return what `user/repo[:quant]` says.

    Raises:
        ModelError: It says something else.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ModelError(
            f"`{text}` names no repository", hint="write `hf: user/repo` or `hf: user/repo:QUANT`"
        )
    return Reference(repo=match[1], quant=match[2])


def choose(files: Iterable[str], reference: Reference, *, complete: bool = True) -> tuple[str, ...]:
    """Return the files of the model that is meant, all parts of a split one, in order.

    Args:
        files: The repository's files, as paths inside it.
        complete: Whether these are all of the repository's files. Of some of them «the first» or
            «there is no Q4_K_M» cannot be told, so then only a quant's name decides.

    Raises:
        ModelError: No model fits, or several do, or parts of it are missing; the message lists
            what there is.
    """
    present = set(files)
    models = sorted({split_names(name) for name in present if _is_model(name)})
    found = _fitting(models, reference, complete=complete)
    if len(found) != 1:
        raise _undecided(models, found, reference)
    missing = [name for name in found[0] if name not in present]
    if missing:
        raise ModelError(f"{reference}: parts are missing: {', '.join(missing)}")
    return found[0]


def _is_model(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    return name.endswith(".gguf") and not any(part in name for part in COMPANIONS)


def _fitting(
    models: Sequence[tuple[str, ...]], reference: Reference, *, complete: bool
) -> list[tuple[str, ...]]:
    if reference.quant is not None:
        return [parts for parts in models if _carries(parts[0], reference.quant)]
    for quant in DEFAULT_QUANTS if complete else DEFAULT_QUANTS[:1]:
        found = [parts for parts in models if _carries(parts[0], quant)]
        if found:
            return found
    return list(models[:1]) if complete else []


def _carries(path: str, quant: str) -> bool:
    pattern = rf"(?<![A-Za-z0-9]){re.escape(quant)}(?=[.\-/])"
    return re.search(pattern, path, re.IGNORECASE) is not None


def quant_of(path: str) -> str:
    """Return the quant that a file's name ends with, or the whole path where it has none."""
    split = SPLIT.fullmatch(path)
    stem = split["prefix"] if split else path.removesuffix(".gguf")
    match = re.search(r"[-.]((?:I?Q|TQ|UD-I?Q|MXFP|NVFP|BF|F)\d[A-Z0-9_]*)$", stem, re.IGNORECASE)
    return match[1] if match else path


def _undecided(
    models: Sequence[tuple[str, ...]], found: Sequence[tuple[str, ...]], reference: Reference
) -> ModelError:
    if found:
        names = ", ".join(parts[0] for parts in found[:MOST_LISTED])
        return ModelError(
            f"{reference} fits several models: {names}",
            hint="write more of the file's name after the colon",
        )
    if not models:
        return ModelError(f"{reference} holds no GGUF model")
    quants = sorted({quant_of(parts[0]) for parts in models})
    left_off = f" and {len(quants) - MOST_LISTED} more" if len(quants) > MOST_LISTED else ""
    asked = "a quant to take by default" if reference.quant is None else reference.quant
    return ModelError(
        f"{reference.repo} has no model with {asked}",
        hint=f"there is: {', '.join(quants[:MOST_LISTED])}{left_off}",
    )


_SHA256 = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
_TRUE = frozenset({"1", "on", "yes", "true"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _CacheEntry:
    """Where a reference's files are looked for.

    Args:
        hub_cache: huggingface_hub's cache of this user.
        record: The file that remembers what the reference came to.
    """

    reference: Reference
    hub_cache: Path
    record: Path

    @property
    def repo_folder(self) -> Path:
        """The repository's folder in huggingface_hub's cache."""
        return self.hub_cache / f"models--{self.reference.repo.replace('/', '--')}"

    def files(self, commit: str, names: tuple[str, ...]) -> ModelFiles | None:
        """Return the named files of a commit if all of them are there."""
        paths = tuple(self.repo_folder / "snapshots" / commit / name for name in names)
        if not paths or not all(path.is_file() for path in paths):
            return None
        digests = [_blob_digest(path) for path in paths]
        known = tuple(digest for digest in digests if digest is not None)
        whole = len(known) == len(paths)
        return ModelFiles(
            paths=paths,
            sha256=known[0] if whole and len(paths) == 1 else None,
            part_sha256=known if whole else (),
            origin=f"{self.reference} ({names[0]})",
        )


def locate_hub(text: str, *, cache: Path, environ: Mapping[str, str]) -> ModelFiles | None:
    """Return the model of `user/repo[:quant]` if all its files are on this machine, else None.

    Without a quant it is only found if it was fetched by us before, or is a Q4_K_M.
    """
    try:
        entry = _entry(text, cache, environ)
    except ModelError:
        return None
    return _remembered(entry) or _cached(entry)


def _entry(text: str, cache: Path, environ: Mapping[str, str]) -> _CacheEntry:
    reference = parse_reference(text)
    name = f"{(reference.quant or 'default').lower()}.json"
    record = cache / "hub" / reference.repo.replace("/", "--") / name
    return _CacheEntry(reference=reference, hub_cache=hub_cache(environ), record=record)


def hub_cache(environ: Mapping[str, str]) -> Path:
    """Return the folder that huggingface_hub, started with this environment, would cache in.

    The same rule as its constants.py; it is handed to it too, so that both mean one folder.
    """
    default = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = environ.get("HF_HOME") or str(Path(default, "huggingface"))
    told = environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE")
    folder = told or str(Path(home, "hub"))
    return Path(os.path.expandvars(folder)).expanduser()


def _remembered(entry: _CacheEntry) -> ModelFiles | None:
    try:
        told = json.loads(entry.record.read_bytes())
    except (OSError, ValueError):
        # Not there, or not ours: then there is nothing to remember.
        return None
    match told:
        case {"commit": str(commit), "files": [str(), *_] as names}:
            return entry.files(commit, tuple(map(str, names)))
        case _:
            return None


def _cached(entry: _CacheEntry) -> ModelFiles | None:
    """Return what another program has fetched, as far as the reference's quant names it."""
    with suppress(OSError, ModelError):
        commit = (entry.repo_folder / "refs" / "main").read_text().strip()
        names = choose(_snapshot(entry, commit), entry.reference, complete=False)
        return entry.files(commit, names)
    return None


def _snapshot(entry: _CacheEntry, commit: str) -> list[str]:
    folder = entry.repo_folder / "snapshots" / commit
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")]


def _blob_digest(path: Path) -> str | None:
    """Return the sha256 that a snapshot's link says, or None.

    Only the link itself is looked at: a blob may be a link in turn, into a store that is shared
    with other programs, where names are hashes of another kind.
    """
    if not path.is_symlink():
        return None
    name = path.readlink().name
    return name if _SHA256.fullmatch(name) else None


async def fetch_hub(
    text: str, *, cache: Path, environ: Mapping[str, str], report: Report
) -> ModelFiles:
    """Return the model of `user/repo[:quant]`, fetched if it is not on this machine yet.

    HF_ENDPOINT, HF_TOKEN (or a login), HF_HOME, HF_HUB_OFFLINE and the rest hold as everywhere.

    Raises:
        ModelError: No such repository or quant, no access, no connection, offline and not in the
            cache, a full disk; the message names it, never the token.
    """
    entry = _entry(text, cache, environ)
    found = _remembered(entry) or _cached(entry)
    if found is not None:
        return found
    if _is_offline(environ):
        raise _offline_error(entry)
    talk = _Talk(reference=entry.reference, report=report)
    report(FetchProgress(what=f"asking for {entry.reference}"))
    ended = await run_child(
        _command(entry, environ),
        environ={**environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        on_line=talk.on_line,
    )
    if ended.code != 0 or not talk.paths:
        raise _error(entry, talk.error or {"kind": "crash", "text": _last(ended.tail)}, environ)
    return _remember(entry, talk)


def _is_offline(environ: Mapping[str, str]) -> bool:
    told = environ.get("HF_HUB_OFFLINE") or environ.get("TRANSFORMERS_OFFLINE") or ""
    return told.lower() in _TRUE


def _command(entry: _CacheEntry, environ: Mapping[str, str]) -> list[str]:
    order = {
        "repo": entry.reference.repo,
        "cache": str(entry.hub_cache),
        "endpoint": (environ.get("HF_ENDPOINT") or "").rstrip("/") or None,
    }
    # Safe path: the worker's neighbours are not to be found as top-level modules.
    return [sys.executable, "-P", hub_worker.__file__, json.dumps(order)]


@dataclass(slots=True, kw_only=True)
class _Talk:
    """The conversation with the worker, and what came of it."""

    reference: Reference
    report: Report
    names: tuple[str, ...] = ()
    total: int | None = None
    paths: tuple[Path, ...] = ()
    error: dict[str, Any] = field(default_factory=dict)

    def on_line(self, line: str) -> str | None:
        """Take in one line; answer a listing with the files that are wanted."""
        if not line.startswith(SIGN):
            return None
        told = json.loads(line.removeprefix(SIGN))
        what = f"downloading {self.reference}"
        match told["event"]:
            case "listed":
                self.names = choose(told["files"], self.reference)
                return json.dumps(self.names)
            case "chosen":
                self.total = told["total"] or None
                self.report(FetchProgress(what=what, total_bytes=self.total))
            case "progress":
                done = told["done"]
                self.report(FetchProgress(what=what, done_bytes=done, total_bytes=self.total))
            case "checking":
                self.report(FetchProgress(what=f"checking {self.reference}"))
            case "done":
                self.paths = tuple(map(Path, told["paths"]))
            case "error":
                self.error = told
        return None


def _remember(entry: _CacheEntry, talk: _Talk) -> ModelFiles:
    snapshots = entry.repo_folder / "snapshots"
    commits = {path.relative_to(snapshots).parts[0] for path in talk.paths}
    commit = commits.pop()
    found = entry.files(commit, talk.names)
    if commits or found is None:
        raise ModelError(
            f"{entry.reference} changed on the hub while it was fetched", hint="run again"
        )
    record = json.dumps({"commit": commit, "files": talk.names}, indent=1)
    try:
        entry.record.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=entry.record.parent, delete=False) as file:
            file.write(record)
        Path(file.name).replace(entry.record)
    except OSError as error:
        raise ModelError(
            f"the model cache cannot be written: {error.strerror}",
            where=str(entry.record.parent),
            hint="move the cache with MATRIXBENCH_CACHE",
        ) from error
    return found


def _offline_error(entry: _CacheEntry) -> ModelError:
    cached = sorted({path.name for path in entry.repo_folder.glob("snapshots/*/**/*.gguf")})
    there = f"; there is: {', '.join(cached)}" if cached else ""
    return ModelError(
        f"{entry.reference} is not in the hub's cache, and HF_HUB_OFFLINE is set{there}",
        where=str(entry.hub_cache),
        hint="name a quant that is there, or fetch it once without HF_HUB_OFFLINE",
    )


def _error(entry: _CacheEntry, told: Mapping[str, Any], environ: Mapping[str, str]) -> ModelError:
    hub = _clean((environ.get("HF_ENDPOINT") or "https://huggingface.co"), environ)
    text = _clean(told["text"], environ)
    repo = entry.reference.repo
    match told["kind"]:
        case "gated":
            message = f"{repo} is gated, and this user may not read it"
            hint = "accept its terms on the hub, then set HF_TOKEN or run `hf auth login`"
        case "missing":
            message = f"the hub has no repository {repo}, or keeps it private"
            hint = "check the name; for a private one set HF_TOKEN or run `hf auth login`"
        case "status" if told["status"] in {401, 403}:
            message = f"the hub refuses {repo}: HTTP {told['status']}"
            hint = "check the repository's name, then HF_TOKEN, or run `hf auth login`"
        case "status":
            message, hint = f"the hub could not serve {repo}: {text}", "try again later"
        case "broken":
            message, hint = f"{entry.reference} came broken: {text}", "run again to fetch it anew"
        case "disk":
            return ModelError(
                f"the hub's cache cannot be written: {text}",
                where=str(entry.hub_cache),
                hint="free some space there, or move it with HF_HUB_CACHE",
            )
        case _:
            message = f"{entry.reference} could not be fetched: {text}"
            hint = "check the network and HF_ENDPOINT; what is in the cache needs neither"
    return ModelError(message, where=hub, hint=hint)


def _last(tail: tuple[str, ...]) -> str:
    lines = [line for line in tail if line.strip() and not line.startswith(SIGN)]
    return lines[-1] if lines else "huggingface_hub ended without a word"


def _clean(text: str, environ: Mapping[str, str]) -> str:
    """Return the first line of a text, without anything that could be a secret."""
    first = text.strip().splitlines()[0] if text.strip() else ""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        token = environ.get(name)
        if token:
            first = first.replace(token, "***")
    return re.sub(r"//[^/@\s]+@", "//***@", _TOKEN.sub("hf_***", first))
