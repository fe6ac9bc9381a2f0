"""Which files of a repository are meant by `user/repo[:quant]`, chosen as llama.cpp does.

The rule is that of `find_best_model` in llama.cpp's common/download.cpp: files that go with a
model (projectors, draft heads, importance matrices) are not models; a quant is looked for in the
names, whatever its case; without one Q4_K_M, then Q8_0, then the first model is taken. It differs
in that a quant which fits several models is an error here, where llama.cpp takes the first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matrixbench.errors import ModelError
from matrixbench.models.gguf import SPLIT, split_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
        reference: What is asked for.
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
