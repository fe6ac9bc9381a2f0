"""What a server counted of a request, for people and for machines."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from matrixbench.charts.metrics import percent
from matrixbench.records import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matrixbench.records import JsonObject
    from matrixbench.store.rows import TrialRow


def usage_of_row(row: TrialRow) -> Usage:
    """Return what a server counted of a stored trial, of a conversation all turns together."""
    return Usage(**{one.name: getattr(row, one.name) for one in fields(Usage)})


def usage_json(usage: Usage) -> JsonObject:
    """Return all that a server counted, and the shares; what it does not tell is null."""
    return {
        **asdict(usage),
        "cached_share": usage.cached_share,
        "draft_accepted_share": usage.draft_accepted_share,
    }


def usage_facts(usage: Usage) -> Iterator[tuple[str, str]]:
    """Yield what people want to know of it: name and text, nothing of what is not told."""
    cached, computed = usage.cached_tokens, usage.computed_tokens
    if cached is not None:
        told = "" if usage.cached_share is None else f" ({percent(usage.cached_share, 1)})"
        of = "" if computed is None else f" of {cached + computed:,}"
        yield "from the cache", f"{cached:,}{of} prompt tokens{told}"
    elif computed is not None:
        yield "prompt tokens computed", f"{computed:,}"
    if usage.draft_tokens is not None:
        accepted, drafts = usage.draft_accepted_tokens, usage.draft_accepted_share
        taken = "" if accepted is None else f", {accepted:,} taken"
        told = "" if drafts is None else f" ({percent(drafts, 1)})"
        yield "tokens drafted", f"{usage.draft_tokens:,}{taken}{told}"
    if usage.reasoning_tokens is not None:
        yield "reasoning tokens", f"{usage.reasoning_tokens:,}"
    accepted, rejected = usage.accepted_prediction_tokens, usage.rejected_prediction_tokens
    if accepted or rejected:
        yield "tokens predicted", f"{accepted or 0:,} taken, {rejected or 0:,} not"
