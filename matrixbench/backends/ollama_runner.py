"""How Ollama started the program that runs the model, as its log tells it.

No page of its API says how many slots there are, of which type the KV cache is and whether flash
attention is on; the command line of its `llama-server` does.
"""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from typing import TYPE_CHECKING

from matrixbench.errors import ServerError

if TYPE_CHECKING:
    from matrixbench.backends.protocol import LaunchOrder
    from matrixbench.records import JsonObject
    from matrixbench.spec.backends import OllamaBackend

_STARTING = re.compile(r'msg="starting llama-server" cmd="((?:[^"\\]|\\.)*)"')
_FLAGS = {
    "-np": "slots",
    "-c": "ctx_size",
    "--cache-type-k": "cache_type_k",
    "--flash-attn": "flash_attn",
    "-b": "num_batch",
    "-t": "num_thread",
    "-ngl": "num_gpu",
}


def runner_settings(log: str) -> JsonObject:
    """Return what the last runner was started with, by flag; empty where the log does not say."""
    found = _STARTING.findall(log)
    if not found:
        return {}
    try:
        words = shlex.split(found[-1].replace('\\"', '"'))
    except ValueError:
        return {}
    return {_FLAGS[flag]: value for flag, value in pairwise(words) if flag in _FLAGS}


def check_runner(order: LaunchOrder, backend: OllamaBackend, settings: JsonObject) -> None:
    """Compare what the runner was started with to what was asked for.

    Raises:
        ServerError: They differ; with both values.
    """
    asked = {"slots": str(backend.slots)}
    if (kv_type := order.options.get("kv-cache-type")) is not None:
        asked["cache_type_k"] = str(kv_type)
    if (flash := order.options.get("flash-attention")) is not None:
        asked["flash_attn"] = "on" if flash in (True, "on") else "off"
    for name, value in asked.items():
        has = settings.get(name)
        if settings and has != value:
            raise ServerError(
                f"{order.name}: {name} {value} was asked for, Ollama runs the model with {has}",
                hint="some models run with one slot only: say slots: 1"
                if name == "slots"
                else "take the option out, or set it to what Ollama can do with this model",
            )
