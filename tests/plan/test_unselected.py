"""Why a selector selects nothing, and what was probably meant."""

from __future__ import annotations

from typing import Any

import pytest

from matrixbench.errors import UsageError
from matrixbench.plan.selector import nothing_selected, parse_where, unknown_axis
from matrixbench.spec.axes import Several

VALUES: dict[str, list[Any]] = {
    "test": ["zebra", "capital-of-France", "capital-of-Japan", "opposite"],
    "temperature": [0, 0.5, 1],
    "backend": ["base", "candidate"],
    "options.flash-attn": ["on", "off"],
    "request.max_tokens": [16, 32],
    "parameters.country": ["France", "Japan"],
    "tag": [Several(("easy", "short"))],
}


def why(*expressions: str) -> tuple[str, str]:
    """Return message and hint for expressions that select nothing."""
    selector = parse_where(expressions, VALUES, handles={"tag": frozenset({"easy", "short"})})
    error = nothing_selected(selector, VALUES, where="exp.yaml", hint="look")
    assert error.message.startswith("no cell is selected")
    return error.message, error.hint


@pytest.mark.parametrize(
    ("expression", "said", "hint"),
    [
        (
            "test=oposite",
            "test has no value «oposite»",
            "perhaps you meant «opposite»; the values of test, the nearest first: opposite, ",
        ),
        (
            "test=capital",
            "test has no value «capital»",
            "the values of test, the nearest first: capital-of-Japan, capital-of-France, ",
        ),
        ("backend in (x, y)", "backend has no value «x»", "base, candidate"),
        ("temperature=0.7", "temperature has no value «0.7»", "the nearest first: 0"),
        ("temperature>1", "no value of temperature is so: temperature>1", "0, 0.5, 1"),
        ("temperature<=-1 or test=x", "temperature<=-1", "0, 0.5, 1"),
        ("test=~^q", "no value of test is so: test=~^q", "the values of test: zebra, "),
        ("test=q*", "test has no value «q*»", "the values of test"),
        ("not (not backend=bse)", "backend has no value «bse»", "perhaps you meant «base»"),
        ("options.flash-attn=auto", "options.flash-attn has no value «auto»", "on, off"),
        ("not backend=x and test=nix", "test has no value «nix»", "the values of test"),
    ],
)
def test_the_comparison_that_is_to_blame(expression: str, said: str, hint: str) -> None:
    """It names the axis, its values, those that are nearest first."""
    message, told = why(expression)
    assert said in message
    assert hint in told


def test_comparisons_that_hold_apart() -> None:
    """Each has its cells, together they have none: that is said."""
    message, hint = why("test=opposite", "test=zebra")
    assert (
        "each of these holds somewhere, all together nowhere: test=opposite, test=zebra" in message
    )
    assert "plan --cells" in hint
    assert why("not test=opposite") == ("no cell is selected", "look")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        (
            "temprature",
            "the experiment has no axis «temprature»",
            "perhaps you meant «temperature»;",
        ),
        ("temp", "the experiment has no axis «temp»", "perhaps you meant «temperature»;"),
        ("flash-attn", "no axis «flash-attn»", "perhaps you meant «options.flash-attn»;"),
        ("max_tokens", "no axis «max_tokens»", "perhaps you meant «request.max_tokens»;"),
        ("country", "no axis «country»", "perhaps you meant «parameters.country»;"),
        ("top_p", "top_p does not vary here", "no `sampling:` gives it"),
        ("min_p", "min_p does not vary here", "every request leaves it to the server"),
        ("seed", "seed does not vary here", "its axes are backend, "),
        ("topp", "no axis «topp»", "perhaps you meant «top_p»: top_p does not vary here;"),
        ("min_pp", "no axis «min_pp»", "perhaps you meant «min_p»: min_p does not vary here;"),
        ("nonsense", "no axis «nonsense»", "its axes are backend, "),
    ],
)
def test_a_name_that_is_no_axis(name: str, message: str, hint: str) -> None:
    """An axis by half its name, a sampling field that the file leaves to the server, a slip."""
    said, told = unknown_axis(name, VALUES)
    assert message in said
    assert told.startswith(hint) or hint in told
    with pytest.raises(UsageError) as caught:
        parse_where(f"{name}=1", VALUES)
    assert caught.value.message == said


def test_a_field_that_varies_nowhere_is_told_by_its_right_name() -> None:
    """`temprature` where the file has no temperature at all."""
    message, hint = unknown_axis("temprature", ["backend", "test"])
    assert message == "the experiment has no axis «temprature»"
    assert hint.startswith("perhaps you meant «temperature»: temperature does not vary here; ")
    assert unknown_axis("temperature", ["test"])[0] == "temperature does not vary here"
