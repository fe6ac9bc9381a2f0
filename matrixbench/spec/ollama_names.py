"""What Ollama calls things: its settings, its options, and the fields that its own API honours.

The names are those of `envconfig/config.go` and `api/types.go` of Ollama 0.33.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVER_OPTIONS: Mapping[str, str] = {
    "flash-attention": "OLLAMA_FLASH_ATTENTION",
    "go-template": "OLLAMA_GO_TEMPLATE",
    "gpu-overhead": "OLLAMA_GPU_OVERHEAD",
    "igpu": "OLLAMA_IGPU_ENABLE",
    "kv-cache-type": "OLLAMA_KV_CACHE_TYPE",
    "llm-library": "OLLAMA_LLM_LIBRARY",
    "sched-spread": "OLLAMA_SCHED_SPREAD",
    "vulkan": "OLLAMA_VULKAN",
}
"""Options of the whole server → the environment variables that they become."""

SWITCHES = frozenset({"flash-attention", "go-template", "igpu", "sched-spread", "vulkan"})
"""Those that are on or off. Ollama takes every word that it does not know for «on», `off` too."""

LOAD_OPTIONS = frozenset(
    {"num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict"}
)
"""Options that a model is loaded with; they travel with every request, since a request without
them would load the model again."""

OPTION_NAMES = frozenset(SERVER_OPTIONS) | LOAD_OPTIONS

OPTIONS_MEANT: Mapping[str, str] = {
    **dict.fromkeys(("ngl", "n-gpu-layers", "gpu-layers", "n_gpu_layers", "gpu_layers"), "num_gpu"),
    **dict.fromkeys(("t", "threads", "n_threads", "num_threads"), "num_thread"),
    **dict.fromkeys(("b", "batch-size", "batch_size", "n_batch"), "num_batch"),
    **dict.fromkeys(("mg", "main-gpu"), "main_gpu"),
    **dict.fromkeys(("fa", "flash-attn", "flash_attn", "flash_attention"), "flash-attention"),
    **dict.fromkeys(
        ("ctk", "ctv", "cache-type-k", "cache-type-v", "kv_cache_type", "kv-cache-dtype"),
        "kv-cache-type",
    ),
    **dict.fromkeys(("mmap", "no-mmap"), "use_mmap"),
    **{variable: name for name, variable in SERVER_OPTIONS.items()},
}
"""What llama.cpp, Ollama's own variables and others call an option → its name here."""

SAID_ELSEWHERE: Mapping[str, str] = {
    **dict.fromkeys(
        ("num_ctx", "ctx-size", "c", "n_ctx", "context_length", "OLLAMA_CONTEXT_LENGTH"),
        "say it with the backend's `context:`, the tokens that one request may use",
    ),
    **dict.fromkeys(
        ("num_parallel", "parallel", "np", "OLLAMA_NUM_PARALLEL"),
        "say it with the backend's `slots:`",
    ),
    **dict.fromkeys(("num_predict", "max_tokens"), "say it with `max_tokens:` at the top level"),
    "seed": "say it with `seed:` at the top level",
    "stop": "say it under `request:`",
}
"""What is no option here → where it is said."""

OWNED_VARIABLES: Mapping[str, str] = {
    "OLLAMA_HOST": "matrixbench chooses the port",
    "OLLAMA_MODELS": "say it with the backend's `models_dir:`",
    "OLLAMA_CONTEXT_LENGTH": "say it with the backend's `context:`",
    "OLLAMA_NUM_PARALLEL": "say it with the backend's `slots:`",
    "OLLAMA_MAX_LOADED_MODELS": "say it with the backend's `loaded_models:`",
    "OLLAMA_KEEP_ALIVE": "the model stays loaded while its launch runs",
    "OLLAMA_NOPRUNE": "matrixbench never lets its server prune what another one may be writing",
    **{
        variable: f"say it with `options: {{{name}: …}}`"
        for name, variable in SERVER_OPTIONS.items()
    },
}
"""Variables that matrixbench sets itself, and the way to say what is meant."""

SAMPLING = frozenset(
    {
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "typical_p",
        "repeat_penalty",
        "repeat_last_n",
        "presence_penalty",
        "frequency_penalty",
    }
)
"""Sampling fields that `/api/chat` takes among its `options`, by the same names. Of any other one
it logs a warning, and answers without it."""

MAX_TOKENS = ("max_tokens", "max_completion_tokens")
"""What `num_predict` is called in OpenAI's API."""

PASSED_ON = frozenset({"logprobs", "top_logprobs", "think"})
"""Request fields that `/api/chat` has by the same name."""

EFFORTS: Mapping[str, bool | str] = {
    "none": False,
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
}
"""`reasoning_effort` → `think`."""

REQUEST_FIELDS = (
    SAMPLING
    | PASSED_ON
    | {*MAX_TOKENS, "stop", "num_keep", "response_format", "reasoning_effort", "stream"}
)
"""Every field of a request that reaches the model."""
