"""llama-server's flags, as far as the embedded server has them, and how their values are read."""

from __future__ import annotations

import csv
import difflib
import textwrap
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


EMBEDDED_VERSION = 1
"""Part of the embedded server's build: to be raised when a flag comes to mean something else."""

HELP_COLUMN = 40
HELP_WIDTH = 110

KV_TEXT = f"allowed values: {', '.join(KV_TYPES)}\n(default: f16)"
TEMPLATE_TEXT = "(default: template taken from model's metadata)"

FLAGS: tuple[Flag, ...] = (
    Flag(
        names=("-t", "--threads"),
        value="N",
        text="number of CPU threads to use during generation (default: -1)",
        apply=set_number("cpuparams.n_threads", least=-1),
    ),
    Flag(
        names=("-tb", "--threads-batch"),
        value="N",
        text="number of threads to use during batch and prompt processing "
        "(default: same as --threads)",
        apply=set_number("cpuparams_batch.n_threads", least=-1),
    ),
    Flag(
        names=("-c", "--ctx-size"),
        value="N",
        text="size of the prompt context (default: 0, 0 = loaded from model)",
        apply=set_number("n_ctx", least=0),
    ),
    Flag(
        names=("-n", "--predict", "--n-predict"),
        value="N",
        text="number of tokens to predict (default: -1, -1 = infinity)",
        apply=set_number("n_predict", least=-1),
    ),
    Flag(
        names=("-b", "--batch-size"),
        value="N",
        text="logical maximum batch size (default: 2048)",
        apply=set_number("n_batch", least=1),
    ),
    Flag(
        names=("-ub", "--ubatch-size"),
        value="N",
        text="physical maximum batch size (default: 512)",
        apply=set_number("n_ubatch", least=1),
    ),
    Flag(
        names=("-fa", "--flash-attn"),
        value="[on|off|auto]",
        text="set Flash Attention use ('on', 'off', or 'auto', default: 'auto')",
        apply=set_flash_attn,
    ),
    Flag(
        names=("-ctk", "--cache-type-k"),
        value="TYPE",
        text=f"KV cache data type for K\n{KV_TEXT}",
        apply=set_kv_type("cache_type_k"),
    ),
    Flag(
        names=("-ctv", "--cache-type-v"),
        value="TYPE",
        text=f"KV cache data type for V\n{KV_TEXT}",
        apply=set_kv_type("cache_type_v"),
    ),
    Flag(
        names=("-ngl", "--gpu-layers", "--n-gpu-layers"),
        value="N",
        text="max. number of layers to store in VRAM, either an exact number, 'auto', or 'all' "
        "(default: auto)",
        apply=set_gpu_layers,
    ),
    Flag(
        names=("-fit", "--fit"),
        value="[on|off]",
        text="whether to adjust unset arguments to fit in device memory (default: 'on')",
        apply=set_switch("fit_params"),
    ),
    Flag(
        names=("--lora",),
        value="FNAME",
        text="path to LoRA adapter (use comma-separated values to load multiple adapters)",
        apply=add_lora,
    ),
    Flag(
        names=("--lora-scaled",),
        value="FNAME:SCALE,...",
        text="path to LoRA adapter with user defined scaling (format: FNAME:SCALE,...)\n"
        "note: use comma-separated values",
        apply=add_scaled_lora,
    ),
    Flag(names=("-m", "--model"), value="FNAME", text="model path to load", apply=set_model),
    Flag(
        names=("-lv", "--verbosity", "--log-verbosity"),
        value="N",
        text="set the verbosity threshold; messages with a higher verbosity are ignored: "
        "0: output, 1: error, 2: warning, 3: info, 4: trace, 5: debug (default: 3)",
        apply=set_number("verbosity", least=0),
    ),
    Flag(
        names=("-s", "--seed"),
        value="SEED",
        text="RNG seed (default: -1, use random seed for -1)",
        apply=set_seed,
    ),
    Flag(
        names=("--grammar-file",),
        value="FNAME",
        text="file to read grammar from, for requests that bring none",
        apply=set_grammar_file,
    ),
    Flag(
        names=("-mm", "--mmproj"),
        value="FILE",
        text="path to a multimodal projector file",
        apply=set_file("mmproj.path"),
    ),
    Flag(
        names=("-md", "--model-draft", "--spec-draft-model"),
        value="FNAME",
        text="draft model for speculative decoding (default: unused)",
        apply=set_draft_model,
    ),
    Flag(
        names=("--draft-max", "--spec-draft-n-max"),
        value="N",
        text="number of tokens to draft for speculative decoding (default: 3)",
        apply=set_number("speculative.draft.n_max", least=0),
    ),
    Flag(
        names=("--draft-min", "--spec-draft-n-min"),
        value="N",
        text="minimum number of draft tokens to use for speculative decoding (default: 0)",
        apply=set_number("speculative.draft.n_min", least=0),
    ),
    Flag(
        names=("-ngld", "--n-gpu-layers-draft", "--spec-draft-ngl"),
        value="N",
        text="max. number of draft model layers to store in VRAM (default: -1, all that fit)",
        apply=set_number("speculative.draft.n_gpu_layers", least=-1),
    ),
    Flag(
        names=("-np", "--parallel"),
        value="N",
        text="number of server slots (default: 1)",
        apply=set_number("n_parallel", least=1),
    ),
    Flag(
        names=("-kvu", "--kv-unified"),
        off=("-no-kvu", "--no-kv-unified"),
        text="use single unified KV buffer shared across all sequences (default: disabled)",
        apply=set_switch("kv_unified"),
    ),
    Flag(
        names=("-cram", "--cache-ram"),
        value="N",
        text="set the maximum cache size in MiB (default: 8192, -1 - no limit, 0 - disable)",
        apply=set_number("cache_ram_mib", least=-1),
    ),
    Flag(
        names=("--cache-prompt",),
        off=("--no-cache-prompt",),
        text="whether to enable prompt caching (default: enabled)",
        apply=set_switch("cache_prompt"),
    ),
    Flag(
        names=("--cache-reuse",),
        value="N",
        text="min chunk size to attempt reusing from the cache via KV shifting (default: 0)",
        apply=set_number("n_cache_reuse", least=0),
    ),
    Flag(
        names=("--context-shift",),
        off=("--no-context-shift",),
        text="whether to use context shift on infinite text generation (default: disabled)",
        apply=set_switch("ctx_shift"),
    ),
    Flag(
        names=("--swa-full",),
        text="use full-size SWA cache (default: false)",
        apply=set_switch("swa_full"),
    ),
    Flag(
        names=("--warmup",),
        off=("--no-warmup",),
        text="whether to perform warmup with an empty run (default: enabled)",
        apply=set_switch("warmup"),
    ),
    Flag(
        names=("-a", "--alias"),
        value="STRING",
        text="set model name aliases, comma-separated (to be used by API)",
        apply=set_alias,
    ),
    Flag(
        names=("--host",),
        value="HOST",
        text="ip address to listen (default: 127.0.0.1)",
        apply=set_host,
    ),
    Flag(
        names=("--port",),
        value="PORT",
        text="port to listen, 0 for any that is free (default: 0)",
        apply=set_port,
    ),
    Flag(
        names=("--api-key-file",),
        value="FNAME",
        text="path to file containing API keys, one a line (default: none)",
        apply=set_api_keys,
    ),
    Flag(
        names=("--metrics",),
        text="enable prometheus compatible metrics endpoint (default: disabled)",
        apply=set_switch("endpoint_metrics"),
    ),
    Flag(
        names=("--props",),
        text="enable changing global properties via POST /props (default: disabled)",
        apply=set_switch("endpoint_props"),
    ),
    Flag(
        names=("--slots",),
        off=("--no-slots",),
        text="expose slots monitoring endpoint (default: enabled)",
        apply=set_switch("endpoint_slots"),
    ),
    Flag(
        names=("--jinja",),
        off=("--no-jinja",),
        text="whether to use jinja template engine for chat (default: enabled)",
        apply=set_switch("use_jinja"),
    ),
    Flag(
        names=("--reasoning-format",),
        value="FORMAT",
        text="controls whether thought tags are allowed and/or extracted from the response\n"
        f"allowed values: {', '.join(REASONING_FORMATS)}",
        apply=set_reasoning_format,
    ),
    Flag(
        names=("--chat-template",),
        value="JINJA_TEMPLATE",
        text=f"set a chat template by name {TEMPLATE_TEXT}\n"
        f"list of built-in templates:\n{', '.join(TEMPLATES)}",
        apply=set_chat_template,
    ),
    Flag(
        names=("--chat-template-file",),
        value="JINJA_TEMPLATE_FILE",
        text=f"set custom jinja chat template file {TEMPLATE_TEXT}",
        apply=set_chat_template_file,
    ),
)


def apply_flags(library: Library, params: Params, argv: Sequence[str]) -> None:
    """Set the parameters that a command line asks for; of a flag given twice the last one holds.

    Raises:
        FlagError: An unknown flag, with the nearest known one, or a bad value, with those allowed.
    """
    spellings = {name: (flag, "on") for flag in FLAGS for name in flag.names}
    spellings |= {name: (flag, "off") for flag in FLAGS for name in flag.off}
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


def help_text() -> str:
    """Return the flags in llama-server's layout: the flags, and from column 40 what they do."""
    lines = ["----- common params -----", ""]
    lines += _help_rows("-h,    --help, --usage", "print usage and exit")
    lines += _help_rows("--version", "show version and build info")
    for flag in FLAGS:
        names = [*flag.names, *flag.off]
        head = ", ".join(names)
        if len(names) > 1 and not names[0].startswith("--"):
            head = f"{names[0] + ',':<6} {', '.join(names[1:])}"
        lines += _help_rows(f"{head} {flag.value}".rstrip(), flag.text)
    return "\n".join(lines)


def _help_rows(head: str, text: str) -> list[str]:
    rows = [
        row
        for line in text.splitlines()
        for row in textwrap.wrap(line, HELP_WIDTH - HELP_COLUMN, break_on_hyphens=False)
    ]
    first = [head] if len(head) >= HELP_COLUMN else [f"{head:<{HELP_COLUMN}}{rows.pop(0)}"]
    return first + [" " * HELP_COLUMN + row for row in rows]
