"""How many examples property tests try."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

PROFILES = {"ci": 1, "thorough": 20}
"""Profile → how many times as many examples as each time; `--hypothesis-profile` chooses."""

EXAMPLES = 100

for _name, _times in PROFILES.items():
    settings.register_profile(
        _name,
        max_examples=EXAMPLES * _times,
        # How fast this machine is today is no property of the code.
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


def examples(number: int) -> settings:
    """Return settings for a test whose examples are dear: so many each time, else more of them."""
    return settings(max_examples=number * PROFILES.get(settings.get_current_profile_name(), 1))
