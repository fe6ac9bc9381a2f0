"""Makes each change of the table in a copy of the package, and shows that a test fails.

python -m tests.mutations             all of them
python -m tests.mutations gate seeds  those of some subjects
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.mutations.running import broken_before, try_spots
from tests.mutations.spots import SPOTS, SUBJECTS


def main(words: list[str] | None = None) -> int:
    """Try spots; return 0 where a test noticed each of them, else 1."""
    asked = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    asked.add_argument("subjects", nargs="*", choices=[*SUBJECTS, []], metavar="SUBJECT")
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="spots at a time")
    asked.add_argument(
        "--tests-pass",
        action="store_true",
        help="take it that the tests pass without a fault, and do not run them so first",
    )
    told = asked.parse_args(words)
    spots = [spot for spot in SPOTS if not told.subjects or spot.about in told.subjects]
    began = time.monotonic()
    if not told.tests_pass and (said := broken_before(spots, told.jobs)):
        print(f"{said}\nthe tests fail without any fault")  # noqa: T201
        return 1
    survivors = 0
    for found in try_spots(spots, told.jobs):
        survivors += not found.by
        print(  # noqa: T201
            f"{found.seconds:5.1f} s  {found.spot.about:<9} "
            f"{found.by or 'NOT NOTICED'}\n{'':18}{found.spot.fault}",
            flush=True,
        )
    print(  # noqa: T201
        f"{len(spots)} faults, {survivors} not noticed, {time.monotonic() - began:.0f} s"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
