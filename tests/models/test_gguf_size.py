"""How large a GGUF file says that it is, and files that were cut off."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrixbench.errors import ModelError
from matrixbench.models.gguf import CutHeaderError, check_magic, check_whole, declared_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

F32, F16, Q4_K, UNKNOWN = 0, 1, 12, 250
ALIGNMENT = 32


def text(value: str) -> bytes:
    """Return a text as GGUF writes it."""
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def metadata() -> bytes:
    """Return some entries: a number, a text, a boolean, and lists of numbers and of texts."""
    entries = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("llama.context_length") + struct.pack("<II", 4, 4096),
        text("tokenizer.ggml.add_bos") + struct.pack("<I?", 7, True),
        text("tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("") + text("ccc"),
        text("scores") + struct.pack("<IIQ3f", 9, 6, 3, 1.0, 2.0, 3.0),
        text("nested") + struct.pack("<IIQ", 9, 9, 1) + struct.pack("<IQ2B", 0, 2, 1, 2),
        text("general.alignment") + struct.pack("<II", 4, ALIGNMENT),
    ]
    return struct.pack("<Q", len(entries)) + b"".join(entries)


def gguf(tensors: Sequence[tuple[int, tuple[int, ...], int]], data: int, version: int = 3) -> bytes:
    """Return a file with tensors (type, shape, offset) and so many bytes of data."""
    infos = b"".join(
        text(f"t{number}")
        + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        + struct.pack("<IQ", kind, offset)
        for number, (kind, shape, offset) in enumerate(tensors)
    )
    head = b"GGUF" + struct.pack("<IQ", version, len(tensors)) + metadata() + infos
    return head.ljust(-(-len(head) // ALIGNMENT) * ALIGNMENT, b"\0") + bytes(data)


WHOLE = gguf([(F32, (3,), 0), (Q4_K, (256, 4), 32), (F16, (5, 2), 608)], 628)
"""12 bytes, padded to 32; 4 blocks of 144; 10 weights of 2 bytes."""


def test_the_size_is_that_of_the_last_tensor(tmp_path: Path) -> None:
    """Shape, type and offset of the tensors say where the file ends."""
    path = tmp_path / "m.gguf"
    path.write_bytes(WHOLE)
    assert declared_bytes(path) == len(WHOLE)
    check_whole([path])
    path.write_bytes(WHOLE + bytes(100))  # what comes after is nobody's
    check_whole([path])


def test_a_real_model_is_as_large_as_it_says(smollm2_path: Path) -> None:
    """To the byte."""
    assert declared_bytes(smollm2_path) == smollm2_path.stat().st_size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(24, len(WHOLE) - 1))
def test_a_file_that_was_cut_off_anywhere_is_told(tmp_path: Path, length: int) -> None:
    """In its data with both sizes, in its header with the one that there is."""
    path = tmp_path / "m.gguf"
    path.write_bytes(WHOLE[:length])
    with pytest.raises(ModelError) as caught:
        check_whole([path])
    assert f"{length:,}" in caught.value.message
    assert "cut off" in caught.value.message
    assert "fetch it again" in caught.value.hint


def test_a_file_of_a_few_bytes_says_where_it_ends(tmp_path: Path) -> None:
    """It begins with GGUF, and «it begins with GGUF» helps nobody."""
    path = tmp_path / "m.gguf"
    path.write_bytes(WHOLE[:10])
    with pytest.raises(ModelError, match="it ends after 10 bytes"):
        check_magic([path])


@pytest.mark.parametrize(
    "body",
    [
        gguf([(F32, (3,), 0)], 0, version=1),
        gguf([(F32, (3,), 0)], 0, version=0x03000000),
        b"GGUF" + bytes(64),
        b"text",
        b"",
    ],
    ids=["old", "big-endian", "zeros", "text", "empty"],
)
def test_what_is_not_understood_is_not_judged(tmp_path: Path, body: bytes) -> None:
    """Another version says nothing of its size here."""
    path = tmp_path / "m.gguf"
    path.write_bytes(body)
    assert declared_bytes(path) is None
    check_whole([path])


def test_an_unknown_type_is_known_by_its_beginning(tmp_path: Path) -> None:
    """A new quant is not cut off; one whose data does not even begin is."""
    path = tmp_path / "m.gguf"
    tensors = [(UNKNOWN, (1000,), 0), (F32, (2,), 64)]
    path.write_bytes(gguf(tensors, 72))
    check_whole([path])
    path.write_bytes(gguf(tensors, 40))
    with pytest.raises(ModelError, match="cut off"):
        check_whole([path])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(4, len(WHOLE) - 8), st.binary(min_size=1, max_size=8))
def test_a_broken_header_never_does_more_than_say_so(
    tmp_path: Path, at: int, bytes_: bytes
) -> None:
    """Whatever stands there, it ends, and soon."""
    path = tmp_path / "m.gguf"
    path.write_bytes(WHOLE[:at] + bytes_ + WHOLE[at + len(bytes_) :])
    with suppress(CutHeaderError):
        declared_bytes(path)
