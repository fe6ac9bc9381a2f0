"""Reads a report as its page does."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

_INDEX = re.compile(rb'<script type="application/json" id="index">(.*?)</script>', re.DOTALL)
_BLOCK = re.compile(rb'<script type="text/plain" id="block-(\d+)">(.*?)</script>')


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a page holds."""

    index: dict[str, Any]
    records: list[Any]

    @property
    def only(self) -> dict[str, Any]:
        """Its one experiment."""
        (experiment,) = self.index["experiments"]
        return dict(experiment)

    def texts(self) -> list[str]:
        """Return the content of each reply that is in it."""
        return [one["texts"]["content"] for one in self.records if "trial" in one]


def read_report(path: Path) -> Report:
    """Return the data of a page."""
    page = path.read_bytes()
    found = _INDEX.search(page)
    assert found is not None
    index = json.loads(found[1])
    lines: list[bytes] = []
    for number, (named, block) in enumerate(_BLOCK.findall(page)):
        assert int(named) == number
        assert index["blocks"][number] == len(lines)
        lines += gzip.decompress(b64decode(block)).splitlines()
    assert index["blocks"][-1] == len(lines)
    return Report(index=index, records=[json.loads(line) for line in lines])
