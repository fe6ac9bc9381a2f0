"""Endpoints on this machine: does a chat API answer at the url, and has it the models?"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from matrixbench.backends.address import address_of, beside, shown_url
from matrixbench.backends.model_ids import has_id, ids_in, ids_told, nearest_ids
from matrixbench.backends.url_forms import other_form
from matrixbench.doctor.findings import Finding, ok, problem, warning
from matrixbench.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matrixbench.backends.address import Address
    from matrixbench.spec.backends import EndpointBackend

ANSWER_TIMEOUT_S = 2.0
MOST_BYTES = 1 << 20
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ANY_MODEL = "llamacpp"
"""The owner of a model that llama.cpp lists: its server answers whatever id is asked for."""

_OK, _REFUSED = 200, frozenset({401, 403})


class Answered(NamedTuple):
    """What a page answered: its status, 0 where nothing came, and its JSON."""

    status: int
    data: Any

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the models that it lists."""
        return ids_in(self.data) if self.status == _OK else ()


def examine_endpoint(
    what: str, backend: EndpointBackend, models: Mapping[str, str], environ: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield what there is to say of an endpoint and of the models that it is asked for.

    Only a server on this machine is asked, for its list of models and nothing else.

    Args:
        what: How the endpoint is called.
        backend: Its part of the file.
        models: Model → the id that it is asked for.
        environ: The environment variables.
    """
    try:
        address = address_of(backend, environ)
    except ServerError as error:
        where = f"{error.where}: " if error.where else ""
        yield problem(what, f"{where}{error.message}", error.hint)
        return
    key = "" if address.key_env is None else f", the key in {address.key_env} is set"
    parts = urlsplit(address.url)
    if parts.hostname not in LOOPBACK:
        yield ok(what, f"{address.shown}{key}; not asked: it is not on this machine")
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname, port), ANSWER_TIMEOUT_S):
            pass
    except OSError as error:
        found = f"{address.shown} takes no connection ({error.strerror or 'no answer'}){key}"
        yield problem(what, found, "start the server, or correct the url's port")
        return
    yield from _asked(what, address, models, key)


def _asked(what: str, address: Address, models: Mapping[str, str], key: str) -> Iterator[Finding]:
    """Yield what the list of models tells."""
    asked = beside(address.url, "/models")
    page = _page(asked, address.key)
    if page.ids:
        count = f"{len(page.ids)} model" + ("" if len(page.ids) == 1 else "s")
        yield ok(what, f"{address.shown} answers: {count}{key}")
        for name, wanted in models.items():
            yield from _model(f"{what}, model {name}", wanted, page)
        return
    shown = shown_url(asked)
    if page.status in _REFUSED:
        todo = "check the key" if address.key_env else "name the key with api_key_env"
        yield problem(what, f"{shown} answers HTTP {page.status}{key}", todo)
        return
    other = other_form(address.url)
    if page.status and _page(beside(other, "/models"), address.key).ids:
        found = f"{shown} answers HTTP {page.status}, and {shown_url(other)} as a chat API does"
        yield problem(what, found, f"write url: {shown_url(other)}")
        return
    if not page.status:
        yield ok(what, f"{address.shown} takes connections{key}")
        return
    found = f"{address.shown} takes connections{key}; {shown} answers HTTP {page.status}"
    yield warning(what, found, "some servers list no models; is the url right, with its /v1?")


def _model(what: str, wanted: str, page: Answered) -> Iterator[Finding]:
    if has_id(wanted, page.ids):
        return
    found = f"the server does not list «{wanted}»; it has {ids_told(wanted, page.ids)}"
    todo = f"write id: {nearest_ids(wanted, page.ids)[0]}, or load the model there"
    entries = page.data.get("data") if isinstance(page.data, dict) else None
    owners = {entry.get("owned_by") for entry in entries or () if isinstance(entry, dict)}
    say = warning if owners == {ANY_MODEL} else problem
    yield say(what, found, todo)


def _page(url: str, key: str | None) -> Answered:
    """Return what a page on this machine answers, asked without any proxy."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(str(parts.hostname), parts.port, timeout=ANSWER_TIMEOUT_S)
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    path = parts._replace(scheme="", netloc="", fragment="").geturl()
    with (
        contextlib.closing(connection),
        contextlib.suppress(OSError, http.client.HTTPException, ValueError, RecursionError),
    ):
        connection.request("GET", path or "/", headers=headers)
        answer = connection.getresponse()
        body = answer.read(MOST_BYTES)
        with contextlib.suppress(ValueError, RecursionError):
            return Answered(answer.status, json.loads(body))
        return Answered(answer.status, None)
    return Answered(0, None)
