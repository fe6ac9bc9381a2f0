"""Asked for one model, served by another: names tell, where servers say them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.http.served_names import listed_names, misnamed, same_model, unlisted


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("qwen3-4b", "qwen3-4b"),
        ("Qwen3-4B", "qwen3-4b"),
        ("qwen3-4b", "/models/Qwen3-4B.gguf"),
        ("qwen3-4b", "org/qwen3-4b"),
        ("hf.co/org/Model-GGUF:Q4_K_M", "hf.co/org/Model-GGUF:Q4_K_M"),
        ("gpt-x", "gpt-x-2026-01-31"),
        ("gpt-x", "gpt-x-0613"),
        ("small", "small:latest"),
        ("C:\\models\\small.gguf", "small"),
    ],
)
def test_one_model_has_several_names(asked: str, named: str) -> None:
    """Nothing is said, whichever of the two is asked for."""
    assert misnamed(asked, named) is None
    assert misnamed(named, asked) is None
    assert unlisted(asked, ("other", named)) is None


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("qwen3-235b", "qwen2.5-0.5b-instruct"),
        ("qwen3-4b", "qwen3-4b-instruct"),
        ("model:Q4_K_M", "model:Q8_0"),
        ("qwen3-4b", "qwen3-14b"),
        ("small", "small-draft"),
    ],
)
def test_another_model_is_told(asked: str, named: str) -> None:
    """With the name that it bears, and with the way out."""
    said = misnamed(asked, named)
    assert said is not None
    assert f"«{asked}» was asked for, and «{named}» answered" in said.message
    assert "strict_model: true" in said.hint
    listed = unlisted(asked, ("zzz", named))
    assert listed is not None
    assert f"does not list the model «{asked}»" in listed.message
    assert named in listed.hint


def test_the_nearest_name_comes_first() -> None:
    """A slip of the pen is named."""
    said = unlisted("qwen2.5-05b-instruct", ("llama", "qwen2.5-0.5b-instruct"))
    assert said is not None
    assert said.hint.startswith("perhaps you meant «qwen2.5-0.5b-instruct»")


def test_who_says_nothing_is_not_suspected() -> None:
    """No list, no name in the reply, no id in the file."""
    assert unlisted("m", ()) is None
    assert unlisted(None, ("other",)) is None
    assert misnamed("m", None) is None
    assert misnamed("m", "") is None
    assert misnamed(None, "other") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["data", "id"]), inner),
)


@given(JSON)
def test_any_page_is_read(page: object) -> None:
    """What is no list of models has no names."""
    assert all(isinstance(name, str) for name in listed_names(page))
    assert listed_names({"data": [{"id": "a", "aliases": ["b", 1]}, page]})[:2] == ("a", "b")


@given(st.text(), st.text())
def test_sameness_is_symmetric(one: str, other: str) -> None:
    """And every name is its own."""
    assert same_model(one, one)
    assert same_model(one, other) is same_model(other, one)
