"""Heatmaps of differences: what a square says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from matrixbench.charts.difference import difference_map
from matrixbench.charts.metrics import CHANGE
from matrixbench.comparison.totals import compare_cells
from matrixbench.comparison.values import Candidate, CellPair, Trials

if TYPE_CHECKING:
    from matrixbench.comparison.data import Comparison

OUTCOMES = {
    "lost": ("0" * 20, "1" * 20, False),
    "same": ("1" * 20, "1" * 20, False),
    "greedy": ("00", "11", True),
    "crashed": ("", "1" * 20, False),
}


def side(outcomes: str, build: str) -> Trials:
    """Return trials by their outcomes."""
    passed = {seed: char == "1" for seed, char in enumerate(outcomes)}
    return Trials(cell="c", build=build, passed=passed, replies=dict.fromkeys(passed, "r"))


def comparison(*names: str) -> Comparison:
    """Return a comparison of some candidates that differ from the baseline in the same way."""
    candidates = [
        Candidate(
            name=name,
            pairs=[
                CellPair(
                    coordinates={"backend": name, "temperature": 1, "test": test},
                    test=test,
                    candidate=side(up, "new"),
                    baseline=side(down, "old"),
                    greedy=(greedy, greedy),
                )
                for test, (up, down, greedy) in OUTCOMES.items()
            ],
        )
        for name in names
    ]
    return compare_cells(candidates, experiment="demo", axis="backend", baseline="b")


def squares(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the squares of a picture by test."""
    values = spec["data"].get("values") or next(iter(spec["datasets"].values()))
    return {row["x"]: row for row in values}


def test_a_square_says_the_difference() -> None:
    """Points of 100 with their interval; greedy ones by equality; empty where not measured."""
    found = squares(difference_map(comparison("fast")).to_dict())
    assert (found["lost"]["text"], found["same"]["text"]) == ("−100", "0")
    assert found["same"]["ends"] == "−16 +16"
    assert (found["greedy"]["ends"], found["greedy"]["single"]) == ("changed", "greedy sampling")
    assert "value" not in found["crashed"]
    assert {name for name, row in found.items() if "stands out" in row} == {"lost", "greedy"}


def test_candidates_stand_beside_each_other() -> None:
    """Each has squares of its own, and the title names them all."""
    spec = difference_map(comparison("fast", "slow")).to_dict()
    assert spec["title"]["text"] == ["demo: fast, slow against b"]
    values = spec["data"].get("values") or next(iter(spec["datasets"].values()))
    assert [row["y"] for row in values] == ["fast"] * 4 + ["slow"] * 4
    assert "shown to differ by itself" in json.dumps(spec, ensure_ascii=False)


@pytest.mark.parametrize(("lost", "end"), [(20, 1), (10, 0.5), (4, 0.25), (0, 0.25)])
def test_no_difference_is_in_the_middle(lost: int, end: float) -> None:
    """Colours reach equally far to both sides, and as far as the differences ask for."""
    pair = CellPair(
        coordinates={"backend": "new", "test": "t"},
        test="t",
        candidate=side("0" * lost + "1" * (20 - lost), "new"),
        baseline=side("1" * 20, "old"),
    )
    found = compare_cells(
        [Candidate(name="new", pairs=[pair])], experiment="demo", axis="backend", baseline="old"
    )
    scale = difference_map(found).to_dict()["layer"][0]["encoding"]["color"]["scale"]
    assert (scale["domain"], scale["range"]) == ([-end, end], list(CHANGE))


def test_what_is_not_significant_says_so() -> None:
    """Beside the number of trials; framed squares and those without chance do not."""
    spec = difference_map(comparison("fast")).to_dict()
    counts = {name: row.get("count") for name, row in squares(spec).items()}
    assert counts == {"lost": "n=20", "same": "n=20 n.s.", "greedy": "n=2", "crashed": None}
    assert "n.s.: not shown to differ" in " ".join(spec["title"]["subtitle"])
