"""Makes a report of experiments: reads them, packs what fits, and writes the page."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from matrixbench.errors import UsageError
from matrixbench.output.report.content import read_part
from matrixbench.output.report.pack import Pack, json_bytes
from matrixbench.output.report.page import page
from matrixbench.output.report.replies import groups_of, pack_cells, pack_replies
from matrixbench.safe_files import replaced

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matrixbench.output.report.content import Source
    from matrixbench.records import JsonObject

MAX_MB = 100
"""How large a report may be, in millions of bytes."""

_CODE_BYTES = 1_000_000
"""What the page takes beside its data, most of it Vega."""


def write_report(sources: Sequence[Source], output: Path, *, max_mb: int = MAX_MB) -> JsonObject:
    """Write a report and return what it left out: `replies`, and the `trials` that gave them.

    Raises:
        UsageError: The file cannot be written.
        StoreError: A store cannot be read.
    """
    index, pack = packed(sources, max_mb=max_mb)
    title = f"{', '.join(source.results.experiment for source in sources)}: report"
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with replaced(output) as file:
            file.writelines(page(index, pack, title=title))
    except OSError as error:
        raise UsageError(
            f"the report cannot be written: {error.strerror}",
            where=str(output),
            hint="choose another place with -o",
        ) from error
    left_out: JsonObject = index["left_out"]
    return left_out


def packed(sources: Sequence[Source], *, max_mb: int = MAX_MB) -> tuple[JsonObject, Pack]:
    """Return a report's index and its records."""
    pack = Pack()
    parts = [read_part(source, pack) for source in sources]
    # The charts stand in a block of their own: it is unpacked before anything else is read.
    pack.close()
    groups = groups_of(parts)
    pack_cells(parts, groups, pack)
    told = sum(len(json_bytes(part.index)) for part in parts)
    lacking = list(pack_replies(parts, groups, pack, max_mb * 1_000_000 - told - _CODE_BYTES))
    pack.close()
    index = {
        "made": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "version": _version(),
        "blocks": pack.index(),
        "left_out": {
            "replies": len(lacking),
            "trials": sum(len(group.trials) for group in lacking),
            "max_mb": max_mb,
        },
        "experiments": [part.index for part in parts],
    }
    return index, pack


def _version() -> str:
    try:
        return version("matrixbench")
    except PackageNotFoundError:
        return "from its source"
