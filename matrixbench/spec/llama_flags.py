"""llama-server's options by the other names that people know: short flags, variables, bindings.

The short flags are those of `llama-server --help` (builds of 2024 to 2026, and ik_llama.cpp). Where
a binary is at hand its own help comes first: `own` in the functions below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from matrixbench.spec.aliases import SAMPLING as SAMPLING_WORDS
from matrixbench.spec.experiment import SamplingField

if TYPE_CHECKING:
    from collections.abc import Mapping

_SAMPLING_FIELDS = frozenset(get_args(SamplingField))

_SHORT: Mapping[str, str] = {
    "C": "cpu-mask",
    "Cb": "cpu-mask-batch",
    "Cbd": "cpu-mask-batch-draft",
    "Cd": "cpu-mask-draft",
    "Cr": "cpu-range",
    "Crb": "cpu-range-batch",
    "Crbd": "cpu-range-batch-draft",
    "Crd": "cpu-range-draft",
    "a": "alias",
    "ag": "agent",
    "amb": "attention-max-batch",
    "b": "batch-size",
    "bs": "backend-sampling",
    "c": "ctx-size",
    "cb": "cont-batching",
    "cd": "ctx-size-draft",
    "cl": "cache-list",
    "cmoe": "cpu-moe",
    "cmoed": "cpu-moe-draft",
    "cms": "checkpoint-min-step",
    "cram": "cache-ram",
    "ctk": "cache-type-k",
    "ctkd": "cache-type-k-draft",
    "ctv": "cache-type-v",
    "ctvd": "cache-type-v-draft",
    "ctxcp": "ctx-checkpoints",
    "dev": "device",
    "devd": "device-draft",
    "dio": "direct-io",
    "dkvc": "dump-kv-cache",
    "dr": "docker-repo",
    "dt": "defrag-thold",
    "e": "escape",
    "fa": "flash-attn",
    "fitc": "fit-ctx",
    "fitp": "fit-print",
    "fitt": "fit-target",
    "fmoe": "fused-moe",
    "gan": "grp-attn-n",
    "gaw": "grp-attn-w",
    "h": "help",
    "hf": "hf-repo",
    "hfd": "hf-repo-draft",
    "hff": "hf-file",
    "hffv": "hf-file-v",
    "hfr": "hf-repo",
    "hfrd": "hf-repo-draft",
    "hfrv": "hf-repo-v",
    "hft": "hf-token",
    "hfv": "hf-repo-v",
    "j": "json-schema",
    "jf": "json-schema-file",
    "kvo": "kv-offload",
    "kvu": "kv-unified",
    "l": "logit-bias",
    "lcd": "lookup-cache-dynamic",
    "lcs": "lookup-cache-static",
    "lm": "load-mode",
    "lv": "log-verbosity",
    "lzm": "lazy-mode",
    "m": "model",
    "md": "model-draft",
    "mg": "main-gpu",
    "mla": "mla-use",
    "mm": "mmproj",
    "mmdev": "mmproj-device",
    "mmu": "mmproj-url",
    "mu": "model-url",
    "mv": "model-vocoder",
    "n": "n-predict",
    "ncffn": "n-cpu-ffn",
    "ncmoe": "n-cpu-moe",
    "ncmoed": "n-cpu-moe-draft",
    "ndio": "no-direct-io",
    "ngl": "n-gpu-layers",
    "ngld": "n-gpu-layers-draft",
    "nkvo": "no-kv-offload",
    "no-ag": "no-agent",
    "no-kvu": "no-kv-unified",
    "nocb": "no-cont-batching",
    "np": "parallel",
    "nr": "no-repack",
    "ot": "override-tensor",
    "otd": "override-tensor-draft",
    "r": "reverse-prompt",
    "rea": "reasoning",
    "rtr": "run-time-repack",
    "s": "seed",
    "ser": "smart-expert-reduction",
    "sm": "split-mode",
    "sp": "special",
    "sps": "slot-prompt-similarity",
    "t": "threads",
    "tb": "threads-batch",
    "tbd": "threads-batch-draft",
    "td": "threads-draft",
    "to": "timeout",
    "ts": "tensor-split",
    "ub": "ubatch-size",
    "v": "log-verbose",
}

_ELSEWHERE: Mapping[str, str] = {
    "num_gpu": "n-gpu-layers",
    "gpu_layers": "n-gpu-layers",
    "num_gpu_layers": "n-gpu-layers",
    "num_thread": "threads",
    "num_threads": "threads",
    "n_threads": "threads",
    "n_threads_batch": "threads-batch",
    "num_batch": "batch-size",
    "n_batch": "batch-size",
    "n_ubatch": "ubatch-size",
    "ubatch": "ubatch-size",
    "batch": "batch-size",
    "flash_attention": "flash-attn",
    "type_k": "cache-type-k",
    "type_v": "cache-type-v",
    "kv_cache_type": "cache-type-k",
    "kv_cache_dtype": "cache-type-k",
    "offload_kqv": "kv-offload",
    "draft_model": "model-draft",
    "use_mmap": "mmap",
    "use_mlock": "mlock",
}
"""Names that Ollama, llama-cpp-python and others have for the same."""

_OWN_KEYS: Mapping[str, str] = {
    **dict.fromkeys(
        ("ctx-size", "n-ctx", "num-ctx", "context", "context-size", "context-length", "ctx"),
        "say it with the backend's `context:`, the tokens that one request may use",
    ),
    **dict.fromkeys(
        ("parallel", "n-parallel", "num-parallel", "slots-number", "n-slots"),
        "say it with the backend's `slots:`",
    ),
    **{
        name: f"{name.replace('-', '_')} is a key of the backend: write it beside options"
        for name in ("binary", "env", "concurrency", "replica", "kind")
    },
    **dict.fromkeys(
        ("max-tokens", "num-predict", "max-new-tokens"),
        "say it with `max_tokens:` at the top level",
    ),
}

USUAL: frozenset[str] = frozenset(_SHORT.values()) | {
    "cache-prompt",
    "cache-reuse",
    "context-shift",
    "draft-max",
    "draft-min",
    "jinja",
    "lora",
    "mlock",
    "mmap",
    "no-mmap",
    "no-warmup",
    "numa",
    "reasoning-budget",
    "reasoning-format",
    "rope-freq-base",
    "rope-scale",
    "rope-scaling",
    "swa-full",
}
"""Long flags that are recognised without a binary, where they stand in the wrong place."""

_VARIABLE = "LLAMA_ARG_"


def long_name(name: str, own: Mapping[str, str] | None = None) -> str | None:
    """Return the long name of the option that another name stands for, without dashes.

    Args:
        name: What was written, with or without dashes.
        own: Short → long, both without dashes, as the binary's own help has them.
    """
    bare = name.lstrip("-")
    if own is not None and bare in own:
        return own[bare]
    if bare in _SHORT:
        return _SHORT[bare]
    if bare.startswith(_VARIABLE):
        return bare.removeprefix(_VARIABLE).lower().replace("_", "-")
    return _ELSEWHERE.get(bare.casefold().replace("-", "_"))


def is_short(name: str) -> bool:
    """Return whether a name is one of llama-server's short flags and none of its long ones."""
    return name in _SHORT


def said_elsewhere(name: str) -> str:
    """Return where what a name means is said in the file, if not among options; else nothing."""
    bare = name.lstrip("-").casefold().replace("_", "-")
    if bare in _OWN_KEYS:
        return _OWN_KEYS[bare]
    field = bare.replace("-", "_")
    field = SAMPLING_WORDS.get(bare) or SAMPLING_WORDS.get(field, field)
    return f"say it under `sampling:`, as {field}" if field in _SAMPLING_FIELDS else ""
