"""Statistics for proportions: numbers in, numbers out, each with its source.

One file a question: `proportions` (how sure is a ratio, or a difference), `beta` (how sure is a
ratio, in two other ways), `paired` and
`independent` (do two cells differ), `stratified` (do many), `clustered` (a mean over tests),
`multiple` (many questions at once), `repeats` (pass@k), `sequential` (looking at any time),
`sequential_tests` (do two cells differ that stop when they like), `betting` (a mean over rounds,
at any time).
scipy and numpy are imported inside the functions that need them.
"""

from __future__ import annotations

from matrixbench.stats.beta import exact_interval, jeffreys_interval
from matrixbench.stats.proportions import CONFIDENCE, Interval, wilson_interval

__all__ = ["CONFIDENCE", "Interval", "exact_interval", "jeffreys_interval", "wilson_interval"]
