"""The short form of the soak: a few kills at random moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.soak import soak

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("victim", ["matrixbench", "server"])
def test_no_trial_is_lost_or_doubled_by_kills(tmp_path: Path, victim: str) -> None:
    """After each SIGKILL what was reported is stored once, and no server is left."""
    figures = soak(tmp_path, runs=5, trials=150, victim=victim, seed=7)
    assert figures["stored"] == 600
    assert figures["kills"] >= 3
