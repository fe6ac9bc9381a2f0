"""How the value of a llama-server flag becomes fields of `xllamacpp.CommonParams`."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

KV_TYPES = ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1")
FLASH_ATTN = {"on": "ENABLED", "off": "DISABLED", "auto": "AUTO"}
REASONING_FORMATS = {
    "none": "NONE",
    "auto": "AUTO",
    "deepseek": "DEEPSEEK",
    "deepseek-legacy": "DEEPSEEK_LEGACY",
}
TEMPLATES = ("chatml",)
"""With Jinja, llama.cpp knows this one name; any other is taken as the template's text."""

Params: TypeAlias = Any
"""`xllamacpp.CommonParams`, which has no type stubs."""

Library: TypeAlias = Any
"""The module `xllamacpp`."""


class FlagError(ValueError):
    """The command line is wrong; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag.

    Args:
        names: Its spellings, the short one first.
        text: What it does.
        apply: Sets it: the library, the parameters, the value (`on` and `off` for a switch).
        value: What its value is called; empty for a switch.
        off: Spellings that turn a switch off.
    """

    names: tuple[str, ...]
    text: str
    apply: Callable[[Library, Params, str], None]
    value: str = ""
    off: tuple[str, ...] = ()


def _integer(value: str, *, least: int, most: int = 2**31 - 1) -> int:
    try:
        number = int(value)
    except ValueError:
        number = least - 1
    if not least <= number <= most:
        raise FlagError(f"a whole number from {least} to {most} is allowed")
    return number


def _choice(value: str, allowed: Sequence[str]) -> str:
    if value not in allowed:
        raise FlagError(f"allowed are: {', '.join(allowed)}")
    return value


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise FlagError(f"cannot be read: {error}") from error


def set_number(field: str, *, least: int) -> Callable[[Library, Params, str], None]:
    """Return a setter of a field; a dot leads into a part of the parameters."""

    def apply(_x: Library, params: Params, value: str) -> None:
        _put(params, field, _integer(value, least=least))

    return apply


def _put(params: Params, field: str, value: object) -> None:
    """Set a field; each dot in its name leads into a part of the parameters."""
    *parts, name = field.split(".")
    for part in parts:
        params = getattr(params, part)
    setattr(params, name, value)


def set_switch(field: str) -> Callable[[Library, Params, str], None]:
    """Return a setter of a field that is on or off."""

    def apply(_x: Library, params: Params, value: str) -> None:
        setattr(params, field, _choice(value, ("on", "off")) == "on")

    return apply


def set_kv_type(field: str) -> Callable[[Library, Params, str], None]:
    """Return a setter of the type of the K or the V cache."""

    def apply(x: Library, params: Params, value: str) -> None:
        name = f"GGML_TYPE_{_choice(value, KV_TYPES).upper()}"
        setattr(params, field, getattr(x.ggml_type, name))

    return apply


def set_flash_attn(x: Library, params: Params, value: str) -> None:
    """Set whether flash attention is used."""
    name = f"LLAMA_FLASH_ATTN_TYPE_{FLASH_ATTN[_choice(value, tuple(FLASH_ATTN))]}"
    params.flash_attn_type = getattr(x.llama_flash_attn_type, name)


def set_reasoning_format(x: Library, params: Params, value: str) -> None:
    """Set how thoughts are told from the answer."""
    choice = REASONING_FORMATS[_choice(value, tuple(REASONING_FORMATS))]
    params.reasoning_format = getattr(
        x.common_reasoning_format, f"COMMON_REASONING_FORMAT_{choice}"
    )


def set_model(_x: Library, params: Params, value: str) -> None:
    """Set the model's file."""
    params.model.path = value


def set_alias(_x: Library, params: Params, value: str) -> None:
    """Set the names by which the model is known, separated by commas."""
    params.model_alias = {name.strip() for name in value.split(",")}


def set_host(_x: Library, params: Params, value: str) -> None:
    """Set the address to listen on."""
    params.hostnames = [value]


def set_port(_x: Library, params: Params, value: str) -> None:
    """Set the port to listen on; 0 for any that is free."""
    params.port = _integer(value, least=0, most=65535)


def set_seed(_x: Library, params: Params, value: str) -> None:
    """Set the seed of requests that bring none; −1 for a random one."""
    params.sampling.seed = _integer(value, least=-1, most=2**32 - 1) % 2**32


def set_gpu_layers(_x: Library, params: Params, value: str) -> None:
    """Set how many layers go to the GPU."""
    words = {"auto": -1, "all": -2}
    params.n_gpu_layers = words[value] if value in words else _integer(value, least=0)


def set_chat_template(_x: Library, params: Params, value: str) -> None:
    """Set the chat template by name; a text is refused, for a wrong name would pass as one."""
    params.chat_template = _choice(value, TEMPLATES)


def set_chat_template_file(_x: Library, params: Params, value: str) -> None:
    """Set the chat template to a file's text."""
    params.chat_template = _text_of(value)


def set_api_keys(_x: Library, params: Params, value: str) -> None:
    """Set the keys that requests must bring, one a line of the file."""
    keys = [line.strip() for line in _text_of(value).splitlines() if line.strip()]
    if not keys:
        raise FlagError("holds no key")
    params.api_keys = keys


def set_file(field: str) -> Callable[[Library, Params, str], None]:
    """Return a setter of a file's path; a dot leads into a part of the parameters."""

    def apply(_x: Library, params: Params, value: str) -> None:
        _put(params, field, _file(value))

    return apply


def set_draft_model(x: Library, params: Params, value: str) -> None:
    """Set the model that drafts tokens, and that there is one, as llama-server infers from it."""
    set_file("speculative.draft.mparams.path")(x, params, value)
    params.speculative.types = [x.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]


def set_grammar_file(x: Library, params: Params, value: str) -> None:
    """Set the grammar of requests that bring none to a file's text."""
    params.sampling.grammar = x.CommonGrammar(
        x.common_grammar_type.COMMON_GRAMMAR_TYPE_USER, _text_of(value)
    )


def add_lora(x: Library, params: Params, value: str) -> None:
    """Add LoRA adapters, files separated by commas; one with a comma stands in double quotes."""
    _add_adapters(x, params, [(path, 1.0) for path in next(csv.reader([value]), [])])


def add_scaled_lora(x: Library, params: Params, value: str) -> None:
    """Add LoRA adapters, each as `FNAME:SCALE`."""
    found = []
    for item in next(csv.reader([value]), []):
        path, _, scale = item.rpartition(":")
        try:
            found.append((path, float(scale)))
        except ValueError:
            raise FlagError("FNAME:SCALE is expected, separated by commas") from None
    _add_adapters(x, params, found)


def _add_adapters(x: Library, params: Params, found: Sequence[tuple[str, float]]) -> None:
    adapters = list(params.lora_adapters)
    for path, scale in found:
        adapter = x.CommonAdapterLoraInfo()
        adapter.path = _file(path)
        adapter.scale = scale
        adapters.append(adapter)
    params.lora_adapters = adapters


def _file(path: str) -> str:
    if not Path(path).is_file():
        raise FlagError(f"there is no file {path}")
    return path
