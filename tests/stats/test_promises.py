"""The promises of docs/statistics.md: their measured rates are those of the simulations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "statistics.md"
SIMULATIONS = DOCS / "statistics" / "simulations.md"
HEADER = "| number | it promises | looks | measured |"


def column(header: str, place: int) -> list[float]:
    """Return the figures of a column of the table that has a header, as shares."""
    lines = SIMULATIONS.read_text(encoding="utf-8").splitlines()
    found: list[float] = []
    for line in lines[lines.index(header) + 2 :]:
        if not line.startswith("|"):
            return found
        figure = re.match(r"[\d.]+", line.strip("| ").split(" | ")[place])
        assert figure is not None
        found.append(float(figure[0]) / (100 if f"{figure[0]}%" in line else 1))
    return found


def percent(share: float) -> str:
    """Return a share as the page says it."""
    return f"{100 * share:.1f} %"


def between(header: str, place: int) -> str:
    """Return the least and the largest figure of a column."""
    found = column(header, place)
    return f"{percent(min(found))} to {percent(max(found))}"


CELLS = "| n | Wilson: mean | least | Jeffreys: mean | least | exact: mean | least |"
TOTALS = "| tests × n | ratio | alike | before | spread | before |"
REPLIES = (
    "| of a reply, temperature | mean | phi | variance | p | holds: as if alone | by seed | "
    "own seeds: phi | variance | p | holds |"
)
PEEKING = "| tests | ratio | alike | bets | once | both | on | bets | once | both | at 0 |"
DROPS = "| tests × n | baseline | phi | detectable drop | shown |"
DROPS_APART = "| tests × n | baseline | detectable drop | shown |"
DECIDED = "| tests | baseline | phi | trials per cell | decided |"
EQUAL = "| rows | tests × n | ratio | too high | raw | below | kept |"
BOLD = "| candidates | tests × n | ratio | some row is bold |"
STOPPED = "| true ratio | confidence sequence | Wilson 95 % |"


def measured() -> dict[str, str]:
    """Return what the table says of each number, as the simulations have it."""
    return {
        "interval of a cell's success ratio": (
            f"{between(CELLS, 1)} on average over ratios, {percent(min(column(CELLS, 2)))} at the "
            "worst one"
        ),
        "the same of adaptive trials": (
            f"it ever misses in at most {percent(max(column(STOPPED, 1)))}"
        ),
        "`rank`: interval for these tests": (
            f"{between(TOTALS, 2)} where tests are alike, {between(TOTALS, 4)} where they are not; "
            f"{between(REPLIES, 10)} on real replies"
        ),
        "`rank`: «vs best»": (
            f"some row falsely below in at most {percent(max(column(EQUAL, 5)))}; the mean of the "
            f"best is up to {max(column(EQUAL, 3)):.2f} too high"
        ),
        "`compare`: bold rows": (
            f"some row falsely bold in at most {percent(max(column(BOLD, 3)))}"
        ),
        "gate, one look: no worse": (
            f"said of a drop at the limit in at most {percent(max(column(PEEKING, 4)))}"
        ),
        "gate, bets: no worse": (
            f"said of a drop at the limit in at most {percent(max(column(PEEKING, 3)))}"
        ),
        "gate, both": (
            f"no worse in at most {percent(max(column(PEEKING, 5)))}, with rounds added later "
            f"{percent(max(column(PEEKING, 6)))}"
        ),
        "gate: regression": (
            f"said of no drop at all in at most {percent(max(column(PEEKING, 10)))}, of one at the "
            f"limit in at most {percent(max(column(PEEKING, 9)))}"
        ),
        "detectable drop": (
            f"shown in {between(DROPS, 4)} of runs, where seeds are not shared in "
            f"{between(DROPS_APART, 3)}"
        ),
        "«N trials would decide»": f"decided in {between(DECIDED, 4)} of runs",
    }


def test_the_rates_of_the_first_table_are_those_of_the_others() -> None:
    """Each number with what was measured of it; none is left out, none is made up."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index(HEADER) + 2
    rows = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        name, *_, told = line.strip("| ").split(" | ")
        rows[name] = told
    assert {name: told for name, told in rows.items() if name in measured()} == measured()


@pytest.mark.parametrize(
    "header", [CELLS, TOTALS, REPLIES, PEEKING, DROPS, DROPS_APART, DECIDED, EQUAL, BOLD]
)
def test_every_table_that_is_quoted_has_rows(header: str) -> None:
    """A table that is empty would promise anything."""
    assert len(column(header, 1 if header == CELLS else -1)) > 1
