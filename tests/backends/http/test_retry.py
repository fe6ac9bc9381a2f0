"""When a server is asked again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.http.requests import RetryPolicy


@given(tried=st.integers(1, 40), draw=st.floats(0, 1, exclude_max=True))
def test_waits_grow_to_a_cap(tried: int, draw: float) -> None:
    """The wait is between 0 and base · 2ⁿ⁻¹, and never above the cap."""
    policy = RetryPolicy(base_s=0.5, cap_s=20.0, draw=lambda: draw)
    assert 0 <= policy.wait_s(tried, None) <= min(20.0, 0.5 * 2 ** (tried - 1))


def test_retry_after_may_be_seconds_or_a_date() -> None:
    """Both forms of RFC 9110 are understood, and fractions that some servers send."""
    policy = RetryPolicy(draw=lambda: 0.0, now=lambda: 784111770.0)
    assert policy.wait_s(1, "120") == 120.0
    assert policy.wait_s(1, "0.25") == 0.25
    assert policy.wait_s(1, "Sun, 06 Nov 1994 08:49:37 GMT") == 7.0


def test_a_date_gone_by_and_a_negative_wait_mean_now() -> None:
    """No wait is negative."""
    policy = RetryPolicy(draw=lambda: 0.0)
    assert policy.wait_s(1, "Sun, 06 Nov 1994 08:49:37 GMT") == 0.0
    assert policy.wait_s(1, "-5") == 0.0


@given(st.text(max_size=30))
def test_any_other_text_is_no_reason_to_fail(text: str) -> None:
    """What cannot be read falls back to the backoff, or is a wait of its own."""
    assert RetryPolicy().wait_s(1, text) >= 0
