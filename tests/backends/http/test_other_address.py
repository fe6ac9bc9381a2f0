"""A url in the wrong form, and a model that the server lacks: what to write instead."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrixbench.backends.build import FileHashes
from matrixbench.backends.endpoint import EndpointBackend, open_endpoint
from matrixbench.backends.http.address import other_form
from matrixbench.backends.http.requests import RetryPolicy
from matrixbench.backends.http.served_names import has_id, ids_in, ids_told, nearest_ids
from matrixbench.backends.registry import LaunchRequest, ModelSource, Severity, Surroundings
from matrixbench.errors import ServerError
from matrixbench.records import ChatReply, ChatRequest, Kind, Outcome, Refusal
from matrixbench.spec.models import Template
from tests.chat_server import chat_server

REQUEST = ChatRequest(
    body={"messages": [{"role": "user", "content": "hi"}], "max_tokens": 8},
    seed=1,
    trial=0,
    test="t",
    timeout_s=30.0,
)


async def at_once(_: float) -> None:
    """Do not wait."""


OPENER = partial(open_endpoint, environ={}, policy=RetryPolicy(tries=2, sleep=at_once))


def order(url: str, model: str = "m") -> LaunchRequest:
    """Return an order for an endpoint."""
    return LaunchRequest(
        name="endpoint",
        backend=EndpointBackend(kind="endpoint", url=url),
        model=ModelSource(name="model", id=model),
        template=Template(name="native"),
        folder=Path(),
    )


@pytest.mark.parametrize(
    ("prefix", "written", "right"),
    [
        ("/v1", "", "/v1"),
        ("/v1", "/", "/v1"),
        ("/v1", "/v1/chat/completions", "/v1"),
        ("/v1", "/v1/chat/completions/", "/v1"),
        ("/v1", "/v1/models", "/v1"),
        ("/v1", "/v1/completions?a=b", "/v1"),
        ("/v1", "/v1/responses", "/v1"),
        ("/api/v1", "/api", "/api/v1"),
        ("", "/v1", ""),
    ],
)
async def test_the_other_form_of_a_url_is_tried_once_and_told(
    prefix: str, written: str, right: str
) -> None:
    """The launch ends with the url that was asked and the one to write, and asks nothing there."""
    with chat_server(prefix) as (root, asked):
        with pytest.raises(ServerError) as caught:
            async with OPENER(order(f"{root}{written}")):
                raise AssertionError
        assert caught.value.hint == f"{root}{right} answers: write url: {root}{right}"
        assert "answers HTTP 404" in caught.value.message
        assert caught.value.message.count(root) == 1
        assert asked.count(f"GET {prefix}/models") == 1
        assert f"POST {prefix}/chat/completions" not in asked


async def test_a_url_that_takes_chats_is_right_without_a_list() -> None:
    """A server without a list of models is used, and so is a proxy whose list fails."""
    for status in (404, 500, 502, 503):
        with chat_server(models=status) as (root, asked):
            async with OPENER(order(f"{root}/v1")) as session:
                assert isinstance(await session.ask(REQUEST), ChatReply)
            assert asked.count("POST /v1/chat/completions") >= 1


async def test_a_wrong_url_that_nothing_tells_of_before_is_told_by_the_first_request() -> None:
    """Without any list of models, the refusal says which url was asked and which one answers."""
    with chat_server(models=404) as (root, _):
        async with OPENER(order(root)) as session:
            refusals = [await session.ask(REQUEST) for _ in range(2)]
    for refusal in refusals:
        assert isinstance(refusal, Refusal)
        assert refusal.stops_launch
        assert f"(asked: {root}/chat/completions); {root}/v1 answers: write url: {root}/v1" in (
            refusal.reason
        )


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "The model `x` does not exist."),
        (404, 'model "x" not found, try pulling it first'),
        (400, "litellm.BadRequestError: Invalid model name passed in model=x. Invalid model"),
        (400, "x is not a valid model ID"),
        (400, "No such model: x"),
        (404, "model_not_found"),
    ],
)
async def test_a_model_that_the_server_lacks(status: int, message: str) -> None:
    """Whatever its words, the launch ends with the ids that it has, and the nearest to write."""
    ids = ["zephyr-7b", "Qwen/Qwen2.5-0.5B-Instruct", "llama-3"]
    refusal = (status, {"error": {"message": message, "type": "invalid_request_error"}})
    with chat_server(ids=ids, refusal=refusal) as (root, asked):
        async with OPENER(order(f"{root}/v1", "qwen2.5-0.5b")) as session:
            answers = [await session.ask(REQUEST) for _ in range(3)]
    for answer in answers:
        assert isinstance(answer, Refusal)
        assert (answer.outcome, answer.kind) == (Outcome.ERRORED, Kind.NOT_FOUND)
        assert answer.stops_launch
        assert message in answer.reason
        assert "; the server has Qwen/Qwen2.5-0.5B-Instruct, " in answer.reason
        assert answer.reason.endswith(": write id: Qwen/Qwen2.5-0.5B-Instruct")
    assert asked.count("GET /v1/models") <= 3  # at the start, and once to say what there is


def test_the_other_form() -> None:
    """A page's path is left out, `/v1` is added, or taken away; a query goes with a page."""
    assert other_form("http://h/v1/chat/completions?k=v") == "http://h/v1"
    assert other_form("http://h:1") == "http://h:1/v1"
    assert other_form("http://h/v1/") == "http://h"
    assert other_form("https://h/a/chat") == "https://h/a"


@pytest.mark.parametrize(
    ("page", "ids"),
    [
        ({"data": [{"id": "a"}, {"id": "b", "aliases": ["c", 3]}]}, ("a", "b", "c")),
        ({"models": [{"name": "a:latest"}, {"model": "b"}]}, ("a:latest", "b")),
        (["a", {"id": "b"}, 3, None], ("a", "b")),
        ({"data": {}}, ()),
        ({"data": [{"id": None}]}, ()),
        (None, ()),
        ("a", ()),
    ],
)
def test_ids_are_found_in_any_shape(page: object, ids: tuple[str, ...]) -> None:
    """OpenAI's, Ollama's and bare lists."""
    assert ids_in(page) == ids


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("org/llama-3.2-1b:Q4", "Llama-3.2-1B-Instruct-Q4_K_M.gguf"),
        ("GPT4o-mini", "gpt-4o-mini"),
        ("qwne2.5", "Qwen/Qwen2.5-0.5B-Instruct"),
    ],
)
def test_the_nearest_id_is_first(asked: str, first: str) -> None:
    """Case, owner and separators count little."""
    ids = [
        "zephyr",
        "gpt-4o-mini",
        "Qwen/Qwen2.5-0.5B-Instruct",
        "Llama-3.2-1B-Instruct-Q4_K_M.gguf",
    ]
    assert nearest_ids(asked, ids)[0] == first


@given(st.text(max_size=30), st.lists(st.text(max_size=30), min_size=1, max_size=20, unique=True))
def test_no_id_is_lost(asked: str, ids: list[str]) -> None:
    """The nearest first, and all of them; one that is there is the nearest."""
    assert sorted(nearest_ids(asked, ids)) == sorted(ids)
    assert len(ids_told(asked, ids).splitlines()) <= 1
    assert all(has_id(name, ids) for name in ids)


def examined(url: str, **models: str) -> list[tuple[Severity, str, str]]:
    """Return what doctor says of an endpoint."""
    backend = EndpointBackend(kind="endpoint", url=url)
    around = Surroundings(environ={}, hashes=FileHashes(None))
    return [
        (finding.level, finding.found, finding.todo)
        for finding in backend.examine("backend e", models, around)
    ]


@pytest.mark.parametrize("written", ["", "/", "/v1/chat/completions", "/v1/models"])
def test_doctor_tells_the_url_to_write(written: str) -> None:
    """A url whose other form lists models is a problem, with both urls."""
    with chat_server() as (root, _):
        ((level, found, todo),) = examined(f"{root}{written}", m="m")
    assert (level, todo) == (Severity.PROBLEM, f"write url: {root}/v1")
    assert f"{root}{written}".rstrip("/") in found


def test_doctor_tells_the_ids_that_a_server_has() -> None:
    """A model that is not listed is a problem; one that is, is none."""
    with chat_server(ids=["a-model", "m"]) as (root, _):
        assert [one[0] for one in examined(f"{root}/v1", x="m")] == [Severity.OK]
        (fine, (level, found, todo)) = examined(f"{root}/v1/", x="m", y="amodel")
    assert fine[0] is Severity.OK
    assert (level, found) == (
        Severity.PROBLEM,
        "the server does not list «amodel»; it has a-model, m",
    )
    assert todo.startswith("write id: a-model")


def test_doctor_does_not_trust_a_list_that_fails() -> None:
    """A proxy that answers 502 for its list is a warning: its chats may work."""
    with chat_server(models=502) as (root, _):
        ((level, found, _),) = examined(f"{root}/v1", m="m")
    assert level is Severity.WARNING
    assert "HTTP 502" in found
