"""Requests per minute, measured on a clock that the test moves."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.http.requests import Pace


class Clock:
    """A clock that stands still, and sleeps that are noted and end at once."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Note how long it would have been."""
        self.slept.append(seconds)


def ask(pace: Pace, times: int) -> None:
    """Ask so many times at once."""

    async def all_of_them() -> None:
        await asyncio.gather(*(pace.wait() for _ in range(times)))

    asyncio.run(all_of_them())


def test_requests_at_a_time_share_one_pace() -> None:
    """At 60 a minute the first goes at once, and each further one a second later."""
    clock = Clock()
    ask(Pace(60, clock=clock, sleep=clock.sleep), 4)
    assert clock.slept == pytest.approx([1, 2, 3])


def test_a_slow_pace_is_slow_from_the_first_pair_on() -> None:
    """At 6 a minute two requests are ten seconds apart."""
    clock = Clock()
    ask(Pace(6, clock=clock, sleep=clock.sleep), 2)
    assert clock.slept == pytest.approx([10])


def test_a_burst_is_what_one_second_brings() -> None:
    """At 300 a minute five go at once, also after a long pause, and the sixth waits."""
    clock = Clock()
    pace = Pace(300, clock=clock, sleep=clock.sleep)
    ask(pace, 6)
    assert clock.slept == pytest.approx([0.2])
    clock.now += 3600
    clock.slept.clear()
    ask(pace, 6)
    assert clock.slept == pytest.approx([0.2])


@given(
    per_minute=st.floats(0.5, 6000),
    gaps=st.lists(st.floats(0, 30), min_size=1, max_size=50),
)
def test_no_span_of_time_holds_more_than_the_pace_allows(
    per_minute: float, gaps: list[float]
) -> None:
    """Over any stretch, requests are at most the rate times its length, and one second's worth."""
    clock = Clock()
    pace = Pace(per_minute, clock=clock, sleep=clock.sleep)
    sent = []
    for gap in gaps:
        clock.now += gap
        clock.slept.clear()
        asyncio.run(pace.wait())
        sent.append(clock.now + sum(clock.slept))
    per_second = per_minute / 60
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            bound = per_second * (sent[last] - sent[first]) + max(1, per_second)
            assert last - first + 1 <= bound + 1e-6
