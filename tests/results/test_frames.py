"""From an experiment to its tables, as one calls them from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import matrixbench
from matrixbench.errors import NothingSelectedError, StoreError, UsageError
from matrixbench.results.tables import COLUMNS, TRIAL_COLUMNS, axes_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Load, Write

TWINS = """
name: demo
trials: 4
backends:
  a: {kind: scripted, replies: [Paris, London]}
  b: {kind: scripted, replies: [Paris, Paris, Paris, London]}
sampling: {temperature: [0.5, 1]}
tests:
  - {name: paris, messages: [{role: user, content: hi}], expect: [{content: Paris}]}
  - {name: london, messages: [{role: user, content: hi}], expect: [{content: London}]}
"""


def test_a_row_a_cell_and_a_row_a_trial(load: Load) -> None:
    """Tests that share their trials are judged by their own checks in both tables."""
    experiment = load(TWINS)
    matrixbench.run(experiment)
    cells = matrixbench.cell_frame(experiment, where="backend=a", ks=[2])
    assert list(cells.columns) == [*axes_of(cells), *COLUMNS, "pass_at_2", "pass_hat_2"]
    assert set(cells["success_ratio"]) == {0.5}
    trials = matrixbench.trial_frame(experiment, where=["backend=a", "temperature=1"])
    assert list(trials.columns) == [*axes_of(trials), *TRIAL_COLUMNS]
    assert len(trials) == 2 * 4
    passed = trials[trials["outcome"] == "passed"]
    assert sorted(zip(passed["test"], passed["trial"], strict=True)) == [
        ("london", 1),
        ("london", 3),
        ("paris", 0),
        ("paris", 2),
    ]


def test_nothing_measured_is_an_error_with_the_way_out(load: Load) -> None:
    """Before the first run, and where a selector is wrong."""
    experiment = load(TWINS)
    for table in (matrixbench.cell_frame, matrixbench.trial_frame):
        with pytest.raises(NothingSelectedError, match="nothing has been measured of demo yet"):
            table(experiment)
    matrixbench.run(experiment)
    with pytest.raises(UsageError):
        matrixbench.trial_frame(experiment, where="colour=red")
    with pytest.raises(NothingSelectedError):
        matrixbench.cell_frame(experiment, where="temperature=9")


def test_a_comparison_is_a_table_and_a_drawing(load: Load) -> None:
    """One row a pair of cells; drawn, its squares are differences."""
    experiment = load(TWINS)
    matrixbench.run(experiment)
    comparison = matrixbench.compare(experiment, baseline="backend=a", where="test=paris")
    frame = comparison.frame()
    assert list(frame["candidate"]) == ["b", "b"]
    assert list(frame["temperature"]) == [0.5, 1]
    assert list(frame["difference"]) == [0.25, 0.25]
    assert frame["pairs_better"].sum() == 2
    assert comparison.to_dict()["candidates"][0]["candidate"] == "b"
    assert repr(comparison).startswith("<comparison of b with backend=a: ")
    drawn = matrixbench.draw(comparison).to_dict()
    assert "b against a" in " ".join(drawn["title"]["text"])
    with pytest.raises(UsageError, match="a table has no differences"):
        matrixbench.draw(
            matrixbench.cell_frame(experiment),
            matrixbench.Chart(metric=matrixbench.Metric.DIFFERENCE, baseline={"backend": "a"}),
        )


def test_a_drawing_is_named_after_its_experiment(load: Load, tmp_path: Path) -> None:
    """Where neither the chart nor the caller has a title; a path may be text."""
    experiment = load(TWINS)
    matrixbench.run(experiment)
    drawing = matrixbench.draw(matrixbench.cell_frame(experiment))
    assert drawing.to_dict()["title"]["text"] == ["demo"]
    matrixbench.save(drawing, f"{tmp_path}/map.json")
    assert (tmp_path / "map.json").exists()


def test_results_that_are_open_serve_every_question(load: Load) -> None:
    """Tables, totals, a comparison and a picture of one opening say what each says by itself."""
    experiment = load(TWINS)
    matrixbench.run(experiment)
    with matrixbench.open_results(experiment, where="test=paris") as results:
        cells, trials = matrixbench.cell_frame(results), matrixbench.trial_frame(results)
        totals = matrixbench.total_frame(results, ["backend"])
        comparison = matrixbench.compare(results, baseline="backend=a")
        drawing = matrixbench.draw(results)
    assert repr(results) == "<results of demo: 4 cells>"
    assert cells.equals(matrixbench.cell_frame(experiment, where="test=paris"))
    assert len(trials) == 4 * 4
    assert comparison.frame()["difference"].tolist() == [0.25, 0.25]
    assert drawing.to_dict() == matrixbench.draw(cells).to_dict()
    # A table does not say which of the trials passed.
    assert totals["p_vs_best"].notna().tolist() == [False, True]
    assert matrixbench.total_frame(cells, ["backend"])["p_vs_best"].isna().all()


def test_results_close_their_store_and_are_selected_once(load: Load) -> None:
    """What is open has its selection; what is closed is read no more."""
    experiment = load(TWINS)
    matrixbench.run(experiment)
    with matrixbench.open_results(experiment) as results:
        with pytest.raises(UsageError, match="results are selected where they are opened"):
            matrixbench.cell_frame(results, where="test=paris")
        assert matrixbench.cell_frame(results)["trials"].tolist() == [4] * 8
    with pytest.raises(StoreError):
        matrixbench.trial_frame(results)


def test_an_experiment_that_never_ran_has_results_where_one_asks_for_them(load: Load) -> None:
    """Empty ones, of which a table is an error all the same."""
    experiment = load(TWINS)
    with matrixbench.open_results(experiment, unmeasured=True) as results:
        assert not any(tally.asked for tally in results.tallies.values())
        with pytest.raises(NothingSelectedError, match="nothing has been measured of demo yet"):
            matrixbench.cell_frame(results)


def test_what_is_shown_of_values_holds_no_secret(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment of this process is seen where none is given, and never printed."""
    monkeypatch.setenv("EXAMPLE_KEY", "sk-very-secret")
    experiment = matrixbench.load_experiment(str(write(TWINS)))
    assert experiment.environ["EXAMPLE_KEY"] == "sk-very-secret"
    settings = matrixbench.settings_for(experiment)
    prepared = matrixbench.build_plan(experiment)
    assert settings.store == experiment.path.parent / ".matrixbench" / "results.db"
    assert "sk-very-secret" not in repr((experiment, settings, prepared))
    assert repr(prepared).startswith("<plan of demo: 8 cells, 2 launches, ")
