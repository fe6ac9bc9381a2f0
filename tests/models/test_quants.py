"""Which files of a repository are meant."""

from __future__ import annotations

import pytest

from matrixbench.errors import ModelError
from matrixbench.models.hub import choose, parse_reference, quant_of

PLAIN = ["README.md", "m-Q2_K.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-m-f16.gguf"]


def chosen(files: list[str], text: str, *, complete: bool = True) -> tuple[str, ...]:
    """Return what is chosen for a reference as it is written."""
    return choose(files, parse_reference(text), complete=complete)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("u/r", "m-Q4_K_M.gguf"),
        ("u/r:Q8_0", "m-Q8_0.gguf"),
        ("u/r:q8_0", "m-Q8_0.gguf"),
        ("u/r:m-Q2_K", "m-Q2_K.gguf"),
    ],
)
def test_quant(text: str, name: str) -> None:
    """A quant is looked for in the names whatever its case; without one it is Q4_K_M."""
    assert chosen(PLAIN, text) == (name,)


def test_defaults() -> None:
    """Without Q4_K_M the default is Q8_0, and then the first model."""
    assert chosen(["m-Q2_K.gguf", "m-Q8_0.gguf"], "u/r") == ("m-Q8_0.gguf",)
    assert chosen(["m-Q6_K.gguf", "m-Q2_K.gguf"], "u/r") == ("m-Q2_K.gguf",)
    assert chosen(["model.gguf"], "u/r") == ("model.gguf",)


def test_companions_are_no_models() -> None:
    """Projectors, draft heads and importance matrices are never taken for the model."""
    files = ["imatrix.gguf", "mmproj-Q8_0.gguf", "mtp-m-Q8_0.gguf", "z-Q8_0.gguf"]
    assert chosen(files, "u/r:Q8_0") == ("z-Q8_0.gguf",)


def test_split_set_as_a_whole() -> None:
    """All parts of a split model are chosen, in order, whatever the listing's order."""
    parts = tuple(f"Q8_0/m-Q8_0-0000{i}-of-00003.gguf" for i in (1, 2, 3))
    assert chosen([*reversed(parts), "m-Q4_0.gguf"], "u/r:Q8_0") == parts


def test_split_set_by_its_folder() -> None:
    """A quant that only the folder's name tells is found too."""
    parts = ("BF16/m-00001-of-00002.gguf", "BF16/m-00002-of-00002.gguf")
    assert chosen([*parts, "Q8_0/m.gguf"], "u/r:bf16") == parts


def test_missing_part() -> None:
    """A repository that lacks a part is an error that names it."""
    with pytest.raises(ModelError, match="m-Q8_0-00002-of-00002"):
        chosen(["m-Q8_0-00001-of-00002.gguf"], "u/r:Q8_0")


def test_no_match_lists_the_quants() -> None:
    """A quant that is not there is an error that lists those that are."""
    with pytest.raises(ModelError, match="Q5_K_M") as caught:
        chosen(PLAIN, "u/r:Q5_K_M")
    assert caught.value.hint == "there is: Q2_K, Q4_K_M, Q8_0"


def test_a_quant_is_not_found_inside_another() -> None:
    """Q4_XS is not IQ4_XS, and Q4_K is not Q4_K_M."""
    for quant in ("Q4_XS", "Q4_K"):
        with pytest.raises(ModelError, match=quant):
            chosen(["m-IQ4_XS.gguf", "m-Q4_K_M.gguf"], f"u/r:{quant}")


def test_ambiguous() -> None:
    """Several models with one quant are an error that names them, and more of the name decides."""
    files = ["a-Q8_0.gguf", "b-Q8_0.gguf"]
    with pytest.raises(ModelError, match=r"a-Q8_0\.gguf, b-Q8_0\.gguf"):
        chosen(files, "u/r:Q8_0")
    assert chosen(files, "u/r:b-Q8_0") == ("b-Q8_0.gguf",)


def test_no_model_at_all() -> None:
    """A repository without GGUF files says so."""
    with pytest.raises(ModelError, match="holds no GGUF"):
        chosen(["model.safetensors", "mmproj.gguf"], "u/r")


def test_part_of_a_listing_decides_by_name_only() -> None:
    """Of some of the files «the first» cannot be told, nor that there is no Q4_K_M."""
    assert chosen(["m-Q4_K_M.gguf"], "u/r", complete=False) == ("m-Q4_K_M.gguf",)
    assert chosen(["m-Q8_0.gguf"], "u/r:Q8_0", complete=False) == ("m-Q8_0.gguf",)
    with pytest.raises(ModelError, match="by default"):
        chosen(["m-Q8_0.gguf"], "u/r", complete=False)


@pytest.mark.parametrize(
    "text",
    ["", "model", "u/r/x", "u/r:", "u/r:a:b", "../r", "u/..", "https://h.test/u/r", "u/r:a/b"],
)
def test_malformed_reference(text: str) -> None:
    """What is not `user/repo[:quant]` is an error that shows how to write it."""
    with pytest.raises(ModelError, match="names no repository") as caught:
        parse_reference(text)
    assert "user/repo" in caught.value.hint


@pytest.mark.parametrize(
    ("path", "quant"),
    [
        ("m-Q4_K_M.gguf", "Q4_K_M"),
        ("m.f16.gguf", "f16"),
        ("m-UD-IQ2_XXS-00001-of-00002.gguf", "UD-IQ2_XXS"),
        ("m-MXFP4.gguf", "MXFP4"),
        ("model.gguf", "model.gguf"),
        ("llama-3b.gguf", "llama-3b.gguf"),
    ],
)
def test_quant_of(path: str, quant: str) -> None:
    """The quant is the end of the name; where there is none, the name stands for it."""
    assert quant_of(path) == quant
