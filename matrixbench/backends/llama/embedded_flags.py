"""llama-server's flags, as far as the embedded server has them, and how their values are read."""

from __future__ import annotations

import csv
import difflib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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


Apply: TypeAlias = "Callable[[Library, Params, str], None]"
"""Sets a flag: the library, the parameters, the value (`on` and `off` for a switch)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One flag.

    Args:
        names: Its spellings, the short one first.
        off: Spellings that turn a switch off.
        value: What its value is called; empty for a switch.
    """

    names: tuple[str, ...]
    off: tuple[str, ...]
    value: str

    @property
    def apply(self) -> Apply:
        """What sets it."""
        return next(SETTERS[name] for name in self.names if name in SETTERS)


def _read(field: str, reads: Callable[[Library, str], object]) -> Apply:
    """Return what sets a field; each dot in its name leads into a part of the parameters."""

    def apply(x: Library, params: Params, value: str) -> None:
        *parts, name = field.split(".")
        for part in parts:
            params = getattr(params, part)
        setattr(params, name, reads(x, value))

    return apply


def _number(field: str, least: int, most: int = 2**31 - 1) -> Apply:
    return _read(field, lambda _, value: _integer(value, least, most))


def _switch(field: str) -> Apply:
    return _read(field, lambda _, value: _choice(value, ("on", "off")) == "on")


def _integer(value: str, least: int, most: int = 2**31 - 1) -> int:
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


def _as_is(_: Library, value: str) -> str:
    return value


def _one(_: Library, value: str) -> list[str]:
    return [value]


def _names(_: Library, value: str) -> set[str]:
    return {name.strip() for name in value.split(",")}


def _seed(_: Library, value: str) -> int:
    return _integer(value, -1, 2**32 - 1) % 2**32


def _gpu_layers(_: Library, value: str) -> int:
    words = {"auto": -1, "all": -2}
    return words[value] if value in words else _integer(value, 0)


def _kv_type(x: Library, value: str) -> object:
    return getattr(x.ggml_type, f"GGML_TYPE_{_choice(value, KV_TYPES).upper()}")


def _flash_attn(x: Library, value: str) -> object:
    name = FLASH_ATTN[_choice(value, tuple(FLASH_ATTN))]
    return getattr(x.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{name}")


def _reasoning_format(x: Library, value: str) -> object:
    name = REASONING_FORMATS[_choice(value, tuple(REASONING_FORMATS))]
    return getattr(x.common_reasoning_format, f"COMMON_REASONING_FORMAT_{name}")


def _template(_: Library, value: str) -> str:
    """Return a template's name; a text is refused, for a wrong name would pass as one."""
    return _choice(value, TEMPLATES)


def _text_of(_: Library, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise FlagError(f"cannot be read: {error}") from error


def _keys(x: Library, path: str) -> list[str]:
    keys = [line.strip() for line in _text_of(x, path).splitlines() if line.strip()]
    if not keys:
        raise FlagError("holds no key")
    return keys


def _grammar(x: Library, path: str) -> object:
    return x.CommonGrammar(x.common_grammar_type.COMMON_GRAMMAR_TYPE_USER, _text_of(x, path))


def _file(_: Library, path: str) -> str:
    if not Path(path).is_file():
        raise FlagError(f"there is no file {path}")
    return path


def _draft_model(x: Library, params: Params, value: str) -> None:
    """Set the model that drafts tokens, and that there is one, as llama-server infers from it."""
    params.speculative.draft.mparams.path = _file(x, value)
    params.speculative.types = [x.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]


def _loras(x: Library, params: Params, value: str) -> None:
    """Add LoRA adapters, files separated by commas; one with a comma stands in double quotes."""
    _add_adapters(x, params, [(path, 1.0) for path in next(csv.reader([value]), [])])


def _scaled_loras(x: Library, params: Params, value: str) -> None:
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
        adapter.path, adapter.scale = _file(x, path), scale
        adapters.append(adapter)
    params.lora_adapters = adapters


EMBEDDED_VERSION = 1
"""Part of the embedded server's build: to be raised when a flag comes to mean something else."""

HELP = Path(__file__).with_name("embedded_help.txt")
"""The flags, in the layout of llama-server's `--help`: other builds are read in the same way."""

_ROW = re.compile(r"(?P<names>-[\w-]+(?:, +-[\w-]+)*)(?: (?P<value>\S+))?")


SETTERS: Mapping[str, Apply] = {
    "--threads": _number("cpuparams.n_threads", -1),
    "--threads-batch": _number("cpuparams_batch.n_threads", -1),
    "--ctx-size": _number("n_ctx", 0),
    "--predict": _number("n_predict", -1),
    "--batch-size": _number("n_batch", 1),
    "--ubatch-size": _number("n_ubatch", 1),
    "--flash-attn": _read("flash_attn_type", _flash_attn),
    "--cache-type-k": _read("cache_type_k", _kv_type),
    "--cache-type-v": _read("cache_type_v", _kv_type),
    "--gpu-layers": _read("n_gpu_layers", _gpu_layers),
    "--fit": _switch("fit_params"),
    "--lora": _loras,
    "--lora-scaled": _scaled_loras,
    "--model": _read("model.path", _as_is),
    "--verbosity": _number("verbosity", 0),
    "--seed": _read("sampling.seed", _seed),
    "--grammar-file": _read("sampling.grammar", _grammar),
    "--mmproj": _read("mmproj.path", _file),
    "--model-draft": _draft_model,
    "--draft-max": _number("speculative.draft.n_max", 0),
    "--draft-min": _number("speculative.draft.n_min", 0),
    "--n-gpu-layers-draft": _number("speculative.draft.n_gpu_layers", -1),
    "--parallel": _number("n_parallel", 1),
    "--kv-unified": _switch("kv_unified"),
    "--cache-ram": _number("cache_ram_mib", -1),
    "--cache-prompt": _switch("cache_prompt"),
    "--cache-reuse": _number("n_cache_reuse", 0),
    "--context-shift": _switch("ctx_shift"),
    "--swa-full": _switch("swa_full"),
    "--warmup": _switch("warmup"),
    "--alias": _read("model_alias", _names),
    "--host": _read("hostnames", _one),
    "--port": _number("port", 0, 65535),
    "--api-key-file": _read("api_keys", _keys),
    "--metrics": _switch("endpoint_metrics"),
    "--props": _switch("endpoint_props"),
    "--slots": _switch("endpoint_slots"),
    "--jinja": _switch("use_jinja"),
    "--reasoning-format": _read("reasoning_format", _reasoning_format),
    "--chat-template": _read("chat_template", _template),
    "--chat-template-file": _read("chat_template", _text_of),
}
"""The first long spelling of a flag → what sets it."""


def help_text() -> str:
    """Return the flags in llama-server's layout."""
    return HELP.read_text(encoding="utf-8").rstrip("\n")


@cache
def flags() -> tuple[Flag, ...]:
    """Return every flag that sets something."""
    found = []
    for row in map(_ROW.match, help_text().splitlines()):
        names = () if row is None else tuple(name.strip() for name in row["names"].split(","))
        if row is None or not any(name in SETTERS for name in names):
            continue
        off = tuple(name for name in names if name.lstrip("-").startswith("no-"))
        kept = tuple(name for name in names if name not in off)
        found.append(Flag(names=kept, off=off, value=row["value"] or ""))
    return tuple(found)


def apply_flags(library: Library, params: Params, argv: Sequence[str]) -> None:
    """Set the parameters that a command line asks for; of a flag given twice the last one holds.

    Raises:
        FlagError: An unknown flag, with the nearest known one, or a bad value, with those allowed.
    """
    spellings = {name: (flag, "on") for flag in flags() for name in flag.names}
    spellings |= {name: (flag, "off") for flag in flags() for name in flag.off}
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        if name not in spellings:
            raise FlagError(f"unknown argument: {name}{_nearest(name, spellings)}")
        flag, turned = spellings[name]
        if not flag.value and equals:
            raise FlagError(f"argument {name} takes no value, but got {value!r}")
        if flag.value and not equals:
            value = next(words, "")
            if not value:
                raise FlagError(f"argument {name} needs a value")
        try:
            flag.apply(library, params, value if flag.value else turned)
        except FlagError as error:
            raise FlagError(f"argument {name}: bad value {value!r}; {error}") from None


def _nearest(name: str, known: Sequence[str] | dict[str, Any]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found else ""
