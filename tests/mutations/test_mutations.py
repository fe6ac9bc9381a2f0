"""The table of faults fits the package, and the runner tells a fault that nobody notices."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.mutations.places import SpotError, change, place_of
from tests.mutations.running import ROOT, try_spots
from tests.mutations.spots import SPOTS, SUBJECTS, Spot

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = ROOT / "matrixbench"
MODULE = """
class Counted:
    def first(self):
        return self.seed + 1


def first(seed):
    limit = 1
    return seed + 1
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package of one module."""
    (tmp_path / "counting.py").write_text(MODULE)
    return tmp_path


def spot(within: str, text: str, becomes: str = "", noticed_by: tuple[str, ...] = ()) -> Spot:
    """Return a spot that is about nothing."""
    return Spot(
        about="x", fault="x", within=within, text=text, becomes=becomes, noticed_by=noticed_by
    )


@pytest.mark.parametrize("one", SPOTS, ids=lambda one: one.fault)
def test_every_spot_is_in_the_package_once(one: Spot) -> None:
    """So is what has to notice it; the fault is Python, and another one."""
    place = place_of(one, PACKAGE)
    source = place.path.read_text(encoding="utf-8")
    changed = source[: place.start] + one.becomes + source[place.start + len(one.text) :]
    assert changed != source
    compile(changed, str(place.path), "exec")
    assert all((ROOT / file).is_file() for file in one.noticed_by)


def test_every_subject_has_its_faults() -> None:
    """At least eight each."""
    assert SUBJECTS == ("seeds", "identity", "outcomes", "gate", "intervals")
    assert min(Counter(one.about for one in SPOTS).values()) >= 8


def test_a_spot_is_found_by_its_function(package: Path) -> None:
    """Not in a method of the same name."""
    changed = change(spot("first", "seed + 1", "seed"), package)
    assert changed.read_text() == MODULE.replace("return seed + 1", "return seed")


@pytest.mark.parametrize(
    ("within", "text"), [("first", "seed + 2"), ("last", "seed + 1"), ("first", "1")]
)
def test_what_is_not_there_once_is_an_error(package: Path, within: str, text: str) -> None:
    """A text that is gone, a function that is gone, and a text that occurs twice."""
    with pytest.raises(SpotError, match="is to be found once"):
        change(spot(within, text), package)


def test_a_fault_is_noticed_and_a_harmless_change_is_not() -> None:
    """Both are made in copies; the tree stays as it is."""
    before = place_of(SPOTS[0], PACKAGE)
    noticed_by = ("tests/plan/test_identity.py",)
    faulty = spot("combine", '"/".join', '"".join', noticed_by)
    harmless = spot("combine", '"/".join', "'/'.join", noticed_by)
    found = [one.by for one in try_spots([faulty, harmless], 2)]
    assert found == ["tests/plan/test_identity.py::test_golden_ids", ""]
    assert place_of(SPOTS[0], PACKAGE) == before
