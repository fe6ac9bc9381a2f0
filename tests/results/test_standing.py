"""How rows stand to the best: what is compared with what."""

from __future__ import annotations

from math import isnan, nan

import pytest

from matrixbench.results.tally import Tally
from matrixbench.results.totals import standings
from matrixbench.stats.paired import mcnemar_exact
from matrixbench.stats.stratified import Stratum, overall_p


def rows_of(
    *outcomes: str,
    first_seeds: tuple[int, ...] = (),
    tests: tuple[str, ...] = (),
    **columns: object,
) -> list[list[tuple[tuple[str, ...], dict[str, object]]]]:
    """Return a row of totals for each text of ones and zeros, a cell each, and what passed."""
    rows: list[list[tuple[tuple[str, ...], dict[str, object]]]] = []
    for place, text in enumerate(outcomes):
        test = tests[place] if tests else "t"
        tally = Tally(
            first_seed=first_seeds[place] if first_seeds else 1,
            measured=(1 << len(text)) - 1,
            passes=sum((sign == "1") << index for index, sign in enumerate(text)),
        )
        row: dict[str, object] = {
            "cell": f"c{place}",
            "build": "b",
            "test": test,
            "trials": len(text),
            "draws": len(text),
            "seeds_ignored": None,
        }
        row |= {"passed": text.count("1"), "success_ratio": text.count("1") / len(text)}
        row |= {"greedy": False, "low": 0.1, "interval": "wilson", "tally": tally} | columns
        rows.append([((test,), row)])
    return rows


def test_rows_are_tested_by_seed() -> None:
    """Ten discordant pairs of thirty: the exact McNemar test, corrected over the pairs of rows."""
    rows = rows_of("1" * 30, "1" * 20 + "0" * 10, "1" * 29 + "0")
    best, lower, alike = standings(rows)
    assert isnan(best["p_vs_best"])  # type: ignore[arg-type]
    assert lower["p_vs_best"] == mcnemar_exact(10, 0)
    assert lower["p_vs_best_holm"] == pytest.approx(3 * mcnemar_exact(10, 0))
    assert (lower["told_from_best"], alike["told_from_best"]) == (True, False)


def test_the_short_way_is_the_long_one() -> None:
    """Two tests of one cell each: counting bits says what the exact stratified test says."""
    rows = rows_of(
        "1011011101",
        "0010011100",
        "1101111111",
        "1011010001",
        tests=("t", "t", "u", "u"),
        first_seeds=(1, 1, 1001, 1001),
    )
    both = [rows[2] + rows[0], rows[3] + rows[1]]
    found = standings(both)[1]["p_vs_best"]
    assert found == pytest.approx(
        overall_p(
            [
                Stratum(
                    test=text,
                    candidate={i: sign == "1" for i, sign in enumerate(up)},
                    baseline={i: sign == "1" for i, sign in enumerate(down)},
                    paired=True,
                )
                for text, up, down in (
                    ("u", "1011010001", "1101111111"),
                    ("t", "0010011100", "1011011101"),
                )
            ]
        )
    )


def test_tests_of_common_seeds_share_their_luck() -> None:
    """Ten tests that fail under the same seeds know no more than one."""
    rows = rows_of("1" * 10, "00" + "1" * 8, "1" * 10, "00" + "1" * 8, tests=tuple("ttuu"))
    found = standings([rows[0] + rows[2], rows[1] + rows[3]])[1]["p_vs_best"]
    assert found == mcnemar_exact(2, 0)


def test_other_seeds_are_no_pairs() -> None:
    """Rows whose seeds differ are tested by the exact test of independent cells: Fisher's."""
    rows = rows_of("1" * 10, "0" * 5 + "1" * 5, first_seeds=(1, 1001))
    assert standings(rows)[1]["p_vs_best"] == pytest.approx(0.0325, abs=1e-4)


def test_without_outcomes_nothing_is_tested() -> None:
    """A table of cells alone does not know the seeds; it knows the counts."""
    rows = rows_of("1" * 30, "0" * 30)
    for ((_, row),) in rows:
        del row["tally"]
    _, lower = standings(rows)
    assert lower["told_from_best"] is None
    assert lower["chance_of_best"] == pytest.approx(0, abs=1e-6)


def test_greedy_cells_are_one_trial() -> None:
    """Thirty repeats of a greedy cell show no more than one; greedy on one side is not tested."""
    rows = rows_of("1" * 30, "0" * 30, greedy=True, low=nan)
    assert standings(rows)[1]["p_vs_best"] == 1.0
    rows[0][0][1]["greedy"] = False
    assert standings(rows)[1]["told_from_best"] is None


@pytest.mark.parametrize("trials", [1, 8])
def test_one_draw_is_no_evidence(trials: int) -> None:
    """However many trials it has: a server of one seed draws alike in all tests."""
    rows = rows_of("1" * trials, "0" * trials, draws=1, seeds_ignored="its canary says so")
    assert standings(rows)[1]["told_from_best"] is None


def test_adaptive_cells_are_tested_by_evidence() -> None:
    """Ten of ten against none of ten is p = .002 at a fixed number, more where cells may stop."""
    rows = rows_of("1" * 10, "0" * 10, interval="sequential")
    p = standings(rows)[1]["p_vs_best"]
    assert p == pytest.approx(11 / 2**10)


def test_rows_with_nothing_in_common_are_not_tested() -> None:
    """Each was measured where the other was not."""
    rows = rows_of("1" * 30, "0" * 30)
    rows[1][0] = (("another",), rows[1][0][1])
    assert standings(rows)[1]["told_from_best"] is None
