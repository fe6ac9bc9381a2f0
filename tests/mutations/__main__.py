"""Makes each change of a table in a copy of the package, and shows that a test fails.

python -m tests.mutations               all of them
python -m tests.mutations gate seeds    those of some subjects
python -m tests.mutations Seeds.first   those of a function
python -m tests.mutations --few         a few of each subject, as continuous integration does
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.mutations.places import SpotError
from tests.mutations.running import broken_before, try_spots
from tests.mutations.spots import SPOTS, SUBJECTS, Spot

FEW = 2


def main(words: list[str] | None = None) -> int:
    """Try spots; return 0 where a test noticed each of them, else 1."""
    asked = argparse.ArgumentParser(
        prog="python -m tests.mutations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    asked.add_argument("which", nargs="*", help=f"{', '.join(SUBJECTS)}, or a function")
    asked.add_argument("--few", action="store_true", help=f"the first {FEW} of each subject")
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="spots at a time")
    asked.add_argument(
        "--tests-pass",
        action="store_true",
        help="take it that the tests pass without a fault, and do not run them so first",
    )
    told = asked.parse_args(words)
    spots = [spot for spot in SPOTS if not told.which or {spot.about, spot.within} & {*told.which}]
    if told.few:
        spots = [spot for subject in SUBJECTS for spot in _of(spots, subject)[:FEW]]
    if not spots:
        asked.error(f"no spot is called {' or '.join(told.which)}")
    began = time.monotonic()
    if not told.tests_pass and (said := broken_before(spots, told.jobs)):
        print(f"{said}\nthe tests fail without any fault")
        return 1
    survivors = 0
    try:
        for found in try_spots(spots, told.jobs):
            survivors += not found.by
            print(
                f"{found.seconds:5.1f} s  {found.spot.about:<9}  {found.spot.fault}\n"
                f"{'':20}{found.by or 'NOT NOTICED'}",
                flush=True,
            )
    except SpotError as error:
        print(error)
        return 1
    print(f"{len(spots)} faults, {survivors} not noticed, {time.monotonic() - began:.0f} s")
    return 1 if survivors else 0


def _of(spots: list[Spot], subject: str) -> list[Spot]:
    return [spot for spot in spots if spot.about == subject]


if __name__ == "__main__":
    sys.exit(main())
