"""Two lines with which somebody else sees what a trial saw: the server's, and the request's."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from matrixbench.backends.http.openai_chat import STREAM_OPTIONS
from matrixbench.backends.ollama.chat import Served, native_body
from matrixbench.backends.ollama.model import full_name, load_options
from matrixbench.backends.ollama.server import server_settings
from matrixbench.records import ChatRequest
from matrixbench.spec.backends import (
    CommandBackend,
    EndpointBackend,
    LlamaServerBackend,
    OllamaBackend,
)

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

_OLLAMA_PORT = 11435
_OLLAMA_URL = f"http://127.0.0.1:{_OLLAMA_PORT}"
_MADE = (
    "the model was made for the run, from its file or with its template: make it first "
    "with ollama create {model} -f Modelfile"
)

_KEY_FLAGS = ("--api-key-file", "--api-key")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """Shell command lines.

    Args:
        server: Starts the server; empty where it was not started here.
        request: Sends the trial's request; empty where its body was not kept.
        note: What has to be done before; empty where nothing has.
    """

    server: str
    request: str
    note: str = ""


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
    if launch is not None and isinstance(launch.spec, OllamaBackend):
        return _of_ollama(transcript, record, launch, launch.spec)
    spec = None if launch is None else launch.spec
    env = spec.env if isinstance(spec, LlamaServerBackend | CommandBackend) else {}
    server = _server_line(env, command)
    url = _url(record, launch)
    if transcript.body is None or url is None:
        return Reproduction(server=server, request="")
    body: JsonObject = {
        "stream": False,
        **transcript.body,
        **(STREAM_OPTIONS if transcript.body.get("stream") else {}),
        "seed": transcript.trial.seed,
        **_model(record, launch),
    }
    key = launch.spec.api_key_env if launch and isinstance(launch.spec, EndpointBackend) else None
    return Reproduction(server=server, request=_request_line(url, body, key=key))


def _of_ollama(
    transcript: Transcript, record: LaunchRecord, launch: Launch, backend: OllamaBackend
) -> Reproduction:
    """Return the lines for Ollama, which was asked by its own API.

    A server that was started here is told its settings by variables, and a port of its own, so that
    the user's own Ollama is left alone.
    """
    there = backend.url is not None and record.build is not None
    attached = json.loads(record.build.server)["url"] if there and record.build else ""
    go_template = launch.template.ollama_text is not None
    settings = server_settings(backend, launch.options, port=_OLLAMA_PORT, go_template=go_template)
    if backend.models_dir is not None:
        settings["OLLAMA_MODELS"] = backend.models_dir
    server = _server_line({**settings, **backend.env}, record.command)
    made = launch.source.ollama is None or go_template
    if transcript.body is None:
        return Reproduction(server=server, request="")
    served = Served(
        model=launch.model if made else full_name(launch.source.ollama or ""),
        options=load_options(backend, launch.options),
    )
    asked = ChatRequest(
        body=transcript.body, seed=transcript.trial.seed, trial=0, test="", timeout_s=0
    )
    url = shlex.quote(f"{(attached or _OLLAMA_URL).rstrip('/')}/api/chat")
    return Reproduction(
        server=server,
        request=_request_line(url, native_body(asked, served)),
        note=_MADE.format(model=launch.model) if made else "",
    )


def _server_line(env: Mapping[str, str], command: Sequence[str]) -> str:
    return " ".join([*_assignments(env), shlex.join(command)]) if command else ""


def _request_line(url: str, body: JsonObject, *, key: str | None = None) -> str:
    """Return the line that sends a body; `key` is the variable that holds a server's key."""
    # Without -N, curl holds back what streams.
    words = ["curl", "-sSN" if body.get("stream") else "-sS", url]
    words += ["-H", shlex.quote("Content-Type: application/json")]
    if key:
        # In double quotes, for the shell has to put the key in.
        words += ["-H", f'"Authorization: Bearer ${key}"']
    words += ["-d", shlex.quote(json.dumps(body, separators=(",", ":")))]
    return " ".join(words)


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


def _url(record: LaunchRecord, launch: Launch | None) -> str | None:
    """Return the chat url, quoted for a shell; None where nothing can be asked."""
    build = record.build
    if build is not None and build.kind in _OTHER_APIS:
        return None
    if build is not None and build.kind == "endpoint":
        base = json.loads(build.server).get("url", "")
        return shlex.quote(f"{base.rstrip('/')}/chat/completions")
    path = "/v1"
    if launch is not None and isinstance(launch.spec, CommandBackend):
        path = launch.spec.base_path.rstrip("/")
    port = _value(record.command, "--port")
    if port is None:
        return f'"${URL_VARIABLE}{path}/chat/completions"'
    host = _value(record.command, "--host") or "127.0.0.1"
    host = "127.0.0.1" if host in _BOTH_MEAN_ANY else host
    return shlex.quote(f"http://{host}:{port}{path}/chat/completions")


def _model(record: LaunchRecord, launch: Launch | None) -> JsonObject:
    told = _value(record.command, "--alias")
    if launch is not None and isinstance(launch.spec, CommandBackend):
        told = launch.source.id or launch.model
    if told is None and launch is not None:
        told = launch.source.id
    if told is None:
        reported = record.effective.get("model")
        told = reported.get("id") if isinstance(reported, dict) else None
    return {} if told is None else {"model": told}


def _value(command: Sequence[str], flag: str) -> str | None:
    for word, following in pairwise([*command, ""]):
        if word == flag:
            return following
        if word.startswith(f"{flag}="):
            return word.partition("=")[2]
    return None
