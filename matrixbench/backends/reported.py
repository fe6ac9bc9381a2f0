"""What a server that speaks the chat API says of itself, as far as it stays the same while it runs.

llama.cpp has `/props`, vLLM and others `/version`; nearly all list their models.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from matrixbench.backends.address import beside
from matrixbench.identity import digest

if TYPE_CHECKING:
    from matrixbench.backends.openai_chat import OpenAiChat
    from matrixbench.records import JsonObject

PROBE_TIMEOUT_S = 10.0

_MODEL_FIELDS = ("id", "aliases", "owned_by", "root", "max_model_len", "meta")
"""Of `/models`, what does not change with the time of day (`created` is often the present)."""

_PROPS_FIELDS = ("build_info", "model_path", "model_ftype", "chat_template_caps")


async def reported(chat: OpenAiChat, root: str) -> JsonObject:
    """Return what the pages beside a chat API say; empty where there are none.

    Args:
        chat: The server's API, for its key and its connections.
        root: The server's url, without `/v1`.
    """
    pages = await asyncio.gather(
        *(page(chat, beside(root, path)) for path in ("/props", "/version"))
    )
    return {**_of_props(pages[0]), **_of_version(pages[1])}


def context_in(said: JsonObject) -> int | None:
    """Return how many tokens one request may use, where the server says so."""
    has = said.get("n_ctx") or said.get("model", {}).get("max_model_len")
    return has if isinstance(has, int) else None


async def page(chat: OpenAiChat, url: str) -> Any:  # noqa: ANN401  JSON from outside
    """Return the JSON of a page; None where it cannot be had."""
    try:
        status, data = await chat.get(url, PROBE_TIMEOUT_S)
    except ConnectionError:
        return None
    return data if status == 200 else None  # noqa: PLR2004  OK


async def rendered(chat: OpenAiChat, root: str, body: JsonObject) -> str | None:
    """Return the prompt that a request becomes, as llama.cpp's `/apply-template` shows it.

    Args:
        chat: The server's API, for its key and its connections.
        root: The server's url, without `/v1`.
        body: Messages, tools and whatever else decides the prompt.

    None where the server has no such page, or cannot render it.
    """
    try:
        status, data = await chat.post(beside(root, "/apply-template"), body, PROBE_TIMEOUT_S)
    except ConnectionError:
        return None
    prompt = data.get("prompt") if isinstance(data, dict) else None
    return prompt if status == 200 and isinstance(prompt, str) else None  # noqa: PLR2004  OK


def of_model(listed: object, model: str | None) -> JsonObject:
    """Return what a list of models says of one of them, or of its only one."""
    entries = listed.get("data") if isinstance(listed, dict) else None
    entries = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    if model is not None:
        entries = [e for e in entries if e.get("id") == model or _is_alias(model, e)]
    if len(entries) != 1:
        return {}
    return {"model": {name: entries[0][name] for name in _MODEL_FIELDS if entries[0].get(name)}}


def _is_alias(name: str, entry: JsonObject) -> bool:
    aliases = entry.get("aliases")
    return isinstance(aliases, list) and name in aliases


def _of_props(props: object) -> JsonObject:
    if not isinstance(props, dict) or "build_info" not in props:
        return {}
    known = {name: props[name] for name in _PROPS_FIELDS if name in props}
    settings = props.get("default_generation_settings")
    if isinstance(settings, dict) and isinstance(settings.get("n_ctx"), int):
        known["n_ctx"] = settings["n_ctx"]
    if isinstance(props.get("total_slots"), int) and props["total_slots"] > 0:
        known["total_slots"] = props["total_slots"]
    if isinstance(props.get("chat_template"), str):
        known["chat_template"] = digest(props["chat_template"])
    return known


def _of_version(page: object) -> JsonObject:
    version = page.get("version") if isinstance(page, dict) else None
    return {"version": version} if isinstance(version, str) else {}
