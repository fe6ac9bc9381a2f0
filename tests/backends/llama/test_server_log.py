"""What a llama-server's log says of its KV cache and its flash attention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.llama.arguments import Loaded, check_loaded, read_log, telling
from matrixbench.backends.llama.backend import LlamaServerBackend
from matrixbench.backends.llama.executable import embedded_help, parse_help
from matrixbench.backends.registry import LaunchRequest, ModelSource
from matrixbench.errors import ServerError
from matrixbench.spec.models import Template

# Lines as llama.cpp writes them (October 2026, `--verbosity 4`), and as it used to.
ASKED_ON = """\
0.00.328.977 I llama_context: constructing llama_context
0.00.329.018 I llama_context: flash_attn            = enabled
0.00.329.553 I llama_kv_cache:        CPU KV buffer size =    34.45 MiB
0.00.345.332 I llama_kv_cache: size =   34.45 MiB (   512 cells,  30 layers,  4/4 seqs), \
K (q8_0):   11.95 MiB, V (f16):   22.50 MiB
0.00.346.646 I resolve_fused_ops: fused DeepSeek V4 HC pre enabled
"""
LEFT_TO_THE_SERVER = """\
0.00.514.411 I llama_context: flash_attn            = auto
0.00.537.834 I llama_kv_cache: size =   45.00 MiB (   512 cells,  30 layers,  4/4 seqs), \
K (f16):   22.50 MiB, V (f16):   22.50 MiB
0.00.539.039 I resolve_fused_ops: Flash Attention enabled
"""
NOT_SUPPORTED = """\
0.00.514.411 I llama_context: flash_attn            = auto
0.00.539.039 W resolve_fused_ops: layer 0 is assigned to device CUDA0 but Flash Attention is \
assigned to device CPU (usually due to missing support)
0.00.539.040 W resolve_fused_ops: Flash Attention not supported, set to disabled
"""
QUANTIZED = """\
0.00.684.121 I llama_init_from_model: enabling flash_attn since it is required for quantized V cache
0.00.684.151 I llama_context: flash_attn            = enabled
0.00.706.040 I llama_kv_cache: size =   23.91 MiB (   512 cells,  30 layers,  4/4 seqs), \
K (q8_0):   11.95 MiB, V (q8_0):   11.95 MiB
"""
OLDER = """\
llama_context: flash_attn    = auto
llama_kv_cache_unified: size =   48.00 MiB (  2048 cells,  24 layers,  1/1 seqs), \
K (f16):   24.00 MiB, V (f16):   24.00 MiB
llama_context: Flash Attention was auto, set to disabled
"""
OLDEST = """\
llama_new_context_with_model: flash_attn = 1
llama_new_context_with_model: KV self size  =   25.50 MiB, \
K (q8_0):   12.75 MiB, V (q8_0):   12.75 MiB
"""
DRAFTED = ASKED_ON + LEFT_TO_THE_SERVER.replace("f16", "q4_0")
WINDOWED = """\
llama_context: flash_attn    = disabled
llama_kv_cache: size = 1.00 MiB ( 8192 cells, 5 layers, 1/1 seqs), \
K (q8_0): 0.5 MiB, V (f16): 0.5 MiB
llama_kv_cache: size = 1.00 MiB ( 1024 cells, 25 layers, 1/1 seqs), \
K (q8_0): 0.5 MiB, V (f16): 0.5 MiB
llama_memory_recurrent: size = 3.00 MiB ( 1 cells, 24 layers, 1 seqs), \
R (f32): 1.0 MiB, S (f32): 2.0 MiB
"""


@pytest.mark.parametrize(
    ("log", "k", "v", "flash_attn"),
    [
        pytest.param(ASKED_ON, ("q8_0",), ("f16",), True, id="asked for"),
        pytest.param(LEFT_TO_THE_SERVER, ("f16",), ("f16",), True, id="auto"),
        pytest.param(NOT_SUPPORTED, (), (), False, id="not supported"),
        pytest.param(QUANTIZED, ("q8_0",), ("q8_0",), True, id="required"),
        pytest.param(OLDER, ("f16",), ("f16",), False, id="2025"),
        pytest.param(OLDEST, ("q8_0",), ("q8_0",), True, id="2024"),
        pytest.param(DRAFTED, ("q8_0",), ("f16",), True, id="the draft's context is not meant"),
        pytest.param(WINDOWED, ("q8_0",), ("f16",), False, id="two caches of one type"),
        pytest.param("", (), (), None, id="silent"),
    ],
)
def test_logs_are_read(
    log: str, k: tuple[str, ...], v: tuple[str, ...], flash_attn: bool | None
) -> None:
    """Lines of every age tell the types of both caches and whether flash attention is used."""
    assert read_log(log) == Loaded(cache_type_k=k, cache_type_v=v, flash_attn=flash_attn)


@given(st.text())
def test_any_log_is_read(text: str) -> None:
    """A log without those lines tells nothing, and is no error."""
    assert read_log(text) == Loaded()


def test_json_lines_are_read() -> None:
    """Who has the log written as JSON lines still has it compared."""
    lines = [f'{{"text": "{line}\\n"}}' for line in ASKED_ON.splitlines()]
    assert read_log("\n".join(lines)) == read_log(ASKED_ON)


def test_what_is_recorded() -> None:
    """The launch's record keeps what is known, in the words of the options."""
    assert read_log(ASKED_ON).effective() == {
        "cache_type_k": "q8_0",
        "cache_type_v": "f16",
        "flash_attn": "on",
    }
    assert read_log(NOT_SUPPORTED).effective() == {"flash_attn": "off"}
    assert read_log("").effective() == {}


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"flash-attn": "off"}, ("--verbosity", "4")),
        ({"cache-type-v": "q8_0"}, ("--verbosity", "4")),
        ({"cache-type-k": None}, ()),
        ({"threads": 2}, ()),
        ({"flash-attn": "on", "log-verbosity": 2}, ()),
    ],
)
def test_the_log_is_asked_only_for_what_it_must_tell(
    options: dict[str, Any], flags: tuple[str, ...]
) -> None:
    """A launch without those options, or with a verbosity of its own, logs as it always did."""
    assert telling(options, embedded_help()) == flags


def test_a_build_whose_level_4_prints_prompts_is_left_alone() -> None:
    """Where 4 is called debug, the lines stand in the log anyway."""
    older = parse_help(f"{'-lv, --verbosity N':<40}Values: 3: info, 4: debug (default: 3)")
    assert "--verbosity" in older.flags
    assert telling({"flash-attn": "on"}, older) == ()
    assert telling({"flash-attn": "on"}, parse_help("")) == ()


def order(options: dict[str, Any]) -> LaunchRequest:
    """Return an order with some options."""
    return LaunchRequest(
        name="launch-1",
        backend=LlamaServerBackend(kind="llama-server"),
        options=options,
        model=ModelSource(name="m"),
        template=Template(name="native"),
        folder=Path(),
    )


@pytest.mark.parametrize(
    ("options", "log", "difference"),
    [
        (
            {"cache-type-k": "q4_0"},
            ASKED_ON,
            "cache-type-k q4_0 was asked for, the server has q8_0",
        ),
        ({"cache-type-v": "q8_0"}, ASKED_ON, "cache-type-v q8_0 was asked for, the server has f16"),
        ({"flash-attn": "on"}, NOT_SUPPORTED, "flash-attn on was asked for, the server has it off"),
        ({"flash-attn": True}, OLDER, "flash-attn on was asked for, the server has it off"),
        ({"flash-attn": "off"}, QUANTIZED, "flash-attn off was asked for, the server has it on"),
        ({"flash-attn": False}, OLDEST, "flash-attn off was asked for, the server has it on"),
    ],
)
def test_a_difference_stops_the_launch(options: dict[str, Any], log: str, difference: str) -> None:
    """With both values."""
    with pytest.raises(ServerError, match=f"launch-1: {difference}"):
        check_loaded(order(options), read_log(log))


@pytest.mark.parametrize(
    ("options", "log"),
    [
        ({"cache-type-k": "q8_0", "cache-type-v": "F16", "flash-attn": "on"}, ASKED_ON),
        ({"flash-attn": "auto"}, NOT_SUPPORTED),
        ({"flash-attn": None, "cache-type-k": None}, QUANTIZED),
        ({"flash-attn": "on", "cache-type-k": "q8_0"}, ""),
        ({"flash-attn": "enabled"}, QUANTIZED),
    ],
)
def test_what_agrees_or_is_not_told_runs(options: dict[str, Any], log: str) -> None:
    """`auto` demands nothing, and a log that is silent accuses nobody."""
    check_loaded(order(options), read_log(log))
