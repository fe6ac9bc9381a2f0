"""Two lines with which somebody else sees what a trial saw: the server's, and the request's."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from matrixbench.spec.backends import EndpointBackend, LlamaServerBackend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matrixbench.plan.cells import Launch
    from matrixbench.records import JsonObject
    from matrixbench.store.rows import LaunchRecord, Transcript

URL_VARIABLE = "SERVER_URL"
"""Stands for the server's address where the launch's record does not tell it."""

_SECRET = re.compile(r"key|token|secret|password|credential|auth", re.IGNORECASE)
_BOTH_MEAN_ANY = {"0.0.0.0", "::"}  # noqa: S104  compared with, not bound to
_OTHER_APIS = {"scripted", "ollama"}
"""Kinds that are not asked through the OpenAI chat API, in which the body is kept."""

_KEY_FLAGS = ("--api-key-file", "--api-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """Shell command lines.

    Args:
        server: Starts the server; empty where it was not started here.
        request: Sends the trial's request; empty where its body was not kept.
    """

    server: str
    request: str


def reproduction(
    transcript: Transcript, record: LaunchRecord | None, launch: Launch | None = None
) -> Reproduction:
    """Return the lines that reproduce a trial.

    No secret is in them: the file with the server's random key is gone, so both lines do without
    it; an endpoint's key is the variable that the experiment's file names.

    Args:
        transcript: The trial.
        record: What the store keeps of its launch.
        launch: The launch as the experiment's file has it, if there is one.
    """
    if record is None or record.imported:
        return Reproduction(server="", request="")
    command = _without_key(record.command)
    env = launch.spec.env if launch and isinstance(launch.spec, LlamaServerBackend) else {}
    server = " ".join([*_assignments(env), shlex.join(command)]) if command else ""
    url = _url(record)
    if transcript.body is None or url is None:
        return Reproduction(server=server, request="")
    body: JsonObject = {
        "stream": False,
        **transcript.body,
        "seed": transcript.trial.seed,
        **_model(record, launch),
    }
    words = ["curl", "-sS", url, "-H", shlex.quote("Content-Type: application/json")]
    if launch and isinstance(launch.spec, EndpointBackend) and launch.spec.api_key_env:
        # In double quotes, for the shell has to put the key in.
        words += ["-H", f'"Authorization: Bearer ${launch.spec.api_key_env}"']
    words += ["-d", shlex.quote(json.dumps(body, separators=(",", ":")))]
    return Reproduction(server=server, request=" ".join(words))


def _assignments(env: Mapping[str, str]) -> list[str]:
    """Return what stands before a command; a value that may be a secret stays a variable."""
    return [
        f'{name}="${name}"' if _SECRET.search(name) else f"{name}={shlex.quote(value)}"
        for name, value in env.items()
    ]


def _without_key(command: Sequence[str]) -> list[str]:
    kept: list[str] = []
    words = iter(command)
    for word in words:
        if word in _KEY_FLAGS:
            next(words, None)
        elif not word.startswith(tuple(f"{flag}=" for flag in _KEY_FLAGS)):
            kept.append(word)
    return kept


def _url(record: LaunchRecord) -> str | None:
    """Return the chat url, quoted for a shell; None where nothing can be asked."""
    build = record.build
    if build is not None and build.kind in _OTHER_APIS:
        return None
    if build is not None and build.kind == "endpoint":
        base = json.loads(build.server).get("url", "")
        return shlex.quote(f"{base.rstrip('/')}/chat/completions")
    port = _value(record.command, "--port")
    if port is None:
        return f'"${URL_VARIABLE}/v1/chat/completions"'
    host = _value(record.command, "--host") or "127.0.0.1"
    host = "127.0.0.1" if host in _BOTH_MEAN_ANY else host
    return shlex.quote(f"http://{host}:{port}/v1/chat/completions")


def _model(record: LaunchRecord, launch: Launch | None) -> JsonObject:
    told = _value(record.command, "--alias")
    if told is None and launch is not None:
        told = launch.source.id
    if told is None:
        reported = record.effective.get("model")
        told = reported.get("id") if isinstance(reported, dict) else None
    return {} if told is None else {"model": told}


def _value(command: Sequence[str], flag: str) -> str | None:
    for word, following in pairwise(command):
        if word == flag:
            return following
    return None
