"""Models on a hub: a small one, run for real."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import ModelError
from matrixbench.models.hub import fetch_hub, hub_cache, locate_hub
from tests.models.services import Service, Told, digest, gguf, lines_of, running, start_client

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "hf_thisIsNoRealTokenAtAll"  # noqa: S105  made up
LARGE = 2_000_000


def put(repos: Path, repo: str, **files: bytes) -> None:
    """Put files into a repository; `__` in a name stands for a slash."""
    for name, body in files.items():
        path = repos / repo / f"{name.replace('__', '/')}.gguf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)


@pytest.fixture
def repos(tmp_path: Path) -> Path:
    """Return a folder of repositories."""
    folder = tmp_path / "repos"
    put(folder, "org/one", **{"m-Q4_K_M": gguf("4"), "m-Q8_0": gguf("8")})
    put(folder, "org/lone", **{"model-F16": gguf("f")})
    put(folder, "org/large", model=gguf("large", LARGE))
    put(folder, "org/split", **{f"m-Q8_0-0000{i}-of-00002": gguf(str(i)) for i in (1, 2)})
    (folder / "org/one/README.md").write_text("hello")
    return folder


@pytest.fixture
def hub(repos: Path, environ: dict[str, str]) -> Iterator[Service]:
    """Run a hub, to which the environment points."""
    with running("fake_hub.py", str(repos)) as service:
        environ["HF_ENDPOINT"] = f"{service.url}/"
        yield service


def half_files(environ: dict[str, str]) -> list[Path]:
    """Return the files in the hub's cache that were begun and not ended."""
    return list(hub_cache(environ).rglob("*.incomplete"))


async def test_fetches_and_finds(
    hub: Service, cache: Path, environ: dict[str, str], told: Told
) -> None:
    """A quant is fetched once, and then found without the hub, with its sha256."""
    assert locate_hub("org/one:q8_0", cache=cache, environ=environ) is None
    files = await fetch_hub("org/one:q8_0", cache=cache, environ=environ, report=told)
    assert files.paths[0].read_bytes() == gguf("8")
    assert files.paths[0].name == "m-Q8_0.gguf"
    assert files.sha256 == digest(gguf("8"))
    assert files.part_sha256 == (files.sha256,)
    assert {progress.total_bytes for progress in told.progress} == {None, 4096}
    asked = len(hub.log())
    assert locate_hub("org/one:q8_0", cache=cache, environ=environ) == files
    assert await fetch_hub("org/one:q8_0", cache=cache, environ=environ, report=told) == files
    assert len(hub.log()) == asked


@pytest.mark.usefixtures("hub")
async def test_default_is_not_what_happens_to_be_cached(
    cache: Path, environ: dict[str, str], told: Told
) -> None:
    """A reference without a quant means the same whatever else was fetched before."""
    await fetch_hub("org/one:Q8_0", cache=cache, environ=environ, report=told)
    assert locate_hub("org/one", cache=cache, environ=environ) is None
    files = await fetch_hub("org/one", cache=cache, environ=environ, report=told)
    assert files.paths[0].name == "m-Q4_K_M.gguf"


@pytest.mark.usefixtures("hub")
async def test_choice_is_remembered(cache: Path, environ: dict[str, str], told: Told) -> None:
    """What a reference without a quant came to is found again; without the memory it is not."""
    files = await fetch_hub("org/lone", cache=cache, environ=environ, report=told)
    assert locate_hub("org/lone", cache=cache, environ=environ) == files
    record = cache / "hub" / "org--lone" / "default.json"
    record.write_text("{}")
    assert locate_hub("org/lone", cache=cache, environ=environ) is None
    record.write_text("no json")
    assert locate_hub("org/lone", cache=cache, environ=environ) is None


@pytest.mark.usefixtures("hub")
async def test_split_files(cache: Path, environ: dict[str, str], told: Told) -> None:
    """All parts are fetched into one folder; with one of them gone the model is not there."""
    files = await fetch_hub("org/split:Q8_0", cache=cache, environ=environ, report=told)
    assert [path.read_bytes() for path in files.paths] == [gguf("1"), gguf("2")]
    assert len({path.parent for path in files.paths}) == 1
    assert files.sha256 is None
    assert files.part_sha256 == (digest(gguf("1")), digest(gguf("2")))
    files.paths[1].unlink()
    assert locate_hub("org/split:Q8_0", cache=cache, environ=environ) is None


@pytest.mark.usefixtures("hub")
async def test_found_when_another_program_fetched_it(
    cache: Path, environ: dict[str, str], told: Told, tmp_path: Path
) -> None:
    """The cache is huggingface_hub's own: what is in it is found whoever put it there."""
    files = await fetch_hub("org/split:Q8_0", cache=cache, environ=environ, report=told)
    other = tmp_path / "other cache"
    assert locate_hub("org/split:q8_0", cache=other, environ=environ) is not None
    offline = {**environ, "HF_HUB_OFFLINE": "1"}
    again = await fetch_hub("org/split:q8_0", cache=other, environ=offline, report=told)
    assert again.paths == files.paths


async def test_offline(hub: Service, cache: Path, environ: dict[str, str], told: Told) -> None:
    """Offline the cache alone counts; what it lacks is an error that lists what it holds."""
    files = await fetch_hub("org/one:Q8_0", cache=cache, environ=environ, report=told)
    asked = len(hub.log())
    offline = {**environ, "HF_HUB_OFFLINE": "1"}
    assert await fetch_hub("org/one:Q8_0", cache=cache, environ=offline, report=told) == files
    with pytest.raises(ModelError, match=r"HF_HUB_OFFLINE.*m-Q8_0\.gguf"):
        await fetch_hub("org/one:Q4_K_M", cache=cache, environ=offline, report=told)
    assert len(hub.log()) == asked


async def test_token_goes_to_the_hub_only(
    hub: Service, repos: Path, cache: Path, environ: dict[str, str], told: Told
) -> None:
    """A gated repository wants HF_TOKEN, which the storage behind the hub never sees."""
    (repos / "org/one/.token").write_text(TOKEN)
    with pytest.raises(ModelError, match="gated") as caught:
        await fetch_hub("org/one", cache=cache, environ=environ, report=told)
    assert "HF_TOKEN" in caught.value.hint
    await fetch_hub("org/one", cache=cache, environ={**environ, "HF_TOKEN": TOKEN}, report=told)
    seen = {(asked["role"], asked["authorization"]) for asked in hub.log()}
    assert ("hub", f"Bearer {TOKEN}") in seen
    assert ("storage", None) in seen
    assert ("storage", f"Bearer {TOKEN}") not in seen


@pytest.mark.usefixtures("hub")
@pytest.mark.parametrize("token", [None, TOKEN])
async def test_missing_repository(
    cache: Path, environ: dict[str, str], told: Told, token: str | None
) -> None:
    """A repository that is not there is named, with the way out, and no token is told."""
    known = environ if token is None else {**environ, "HF_TOKEN": token}
    with pytest.raises(ModelError, match="org/none") as caught:
        await fetch_hub("org/none", cache=cache, environ=known, report=told)
    assert "name" in caught.value.hint
    assert TOKEN not in str(caught.value)


@pytest.mark.usefixtures("hub")
async def test_missing_quant(cache: Path, environ: dict[str, str], told: Told) -> None:
    """A quant that is not there is an error that lists those that are."""
    with pytest.raises(ModelError, match="Q5_K_M") as caught:
        await fetch_hub("org/one:Q5_K_M", cache=cache, environ=environ, report=told)
    assert caught.value.hint == "there is: Q4_K_M, Q8_0"


async def test_no_connection(cache: Path, environ: dict[str, str], told: Told) -> None:
    """A hub that does not answer is named; a login in its url is not."""
    # Port 9 of loopback: nothing that serves a hub.
    environ["HF_ENDPOINT"] = "http://me:secret@127.0.0.1:9"
    with pytest.raises(ModelError, match="could not be fetched") as caught:
        await fetch_hub("org/one", cache=cache, environ=environ, report=told)
    assert "HF_ENDPOINT" in caught.value.hint
    assert caught.value.where == "http://***@127.0.0.1:9"


async def test_cut_off_is_fetched_to_the_end(
    repos: Path, cache: Path, environ: dict[str, str], told: Told
) -> None:
    """A download that breaks off half-way is taken up again, and the file is right."""
    with running("fake_hub.py", str(repos), "--cut", "700000") as hub:
        environ["HF_ENDPOINT"] = hub.url
        files = await fetch_hub("org/large", cache=cache, environ=environ, report=told)
        ranges = [asked["range"] for asked in hub.log() if asked["role"] == "storage"]
    assert digest(files.paths[0].read_bytes()) == digest(gguf("large", LARGE)) == files.sha256
    assert len(ranges) == 2
    assert half_files(environ) == []


async def test_cancelled(repos: Path, cache: Path, environ: dict[str, str], told: Told) -> None:
    """A fetch that is cancelled half-way leaves no half file, and the next one is whole."""
    with running("fake_hub.py", str(repos), "--stall", "700000") as hub:
        environ["HF_ENDPOINT"] = hub.url
        task = asyncio.create_task(
            fetch_hub("org/large", cache=cache, environ=environ, report=told)
        )
        await asyncio.to_thread(hub.ask, "stalled")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert half_files(environ) == []
    assert locate_hub("org/large", cache=cache, environ=environ) is None
    with running("fake_hub.py", str(repos)) as hub:
        environ["HF_ENDPOINT"] = hub.url
        files = await fetch_hub("org/large", cache=cache, environ=environ, report=told)
    assert files.paths[0].stat().st_size == LARGE


async def test_killed(repos: Path, cache: Path, environ: dict[str, str], told: Told) -> None:
    """Killed with SIGKILL half-way, nothing is taken for the model, and a new fetch is whole."""
    with running("fake_hub.py", str(repos), "--stall", "700000") as hub:
        environ["HF_ENDPOINT"] = hub.url
        with start_client(cache, '{"hf": "org/large"}', environ) as client:
            hub.ask("stalled")
            client.kill()
    assert locate_hub("org/large", cache=cache, environ=environ) is None
    with running("fake_hub.py", str(repos)) as hub:
        environ["HF_ENDPOINT"] = hub.url
        files = await fetch_hub("org/large", cache=cache, environ=environ, report=told)
    assert digest(files.paths[0].read_bytes()) == files.sha256


def test_progress_is_told_while_it_comes(repos: Path, cache: Path, environ: dict[str, str]) -> None:
    """What has come so far is told though the hub stands still."""
    with running("fake_hub.py", str(repos), "--stall", "700000") as hub:
        environ["HF_ENDPOINT"] = hub.url
        with start_client(cache, '{"hf": "org/large"}', environ) as client:
            hub.ask("stalled")
            whats = [lines_of(client).readline() for _ in range(3)]
            client.kill()
    assert "asking for" in whats[0]
    assert "downloading org/large" in whats[2]


@pytest.mark.usefixtures("hub")
async def test_broken_content_is_not_kept(
    repos: Path, cache: Path, environ: dict[str, str], told: Told
) -> None:
    """A file of the right size whose content went wrong is an error, and is removed again."""
    (repos / "org/lone/.broken").touch()
    with pytest.raises(ModelError, match="came broken"):
        await fetch_hub("org/lone:F16", cache=cache, environ=environ, report=told)
    assert locate_hub("org/lone:F16", cache=cache, environ=environ) is None
    assert not list(hub_cache(environ).glob("models--*/blobs/*"))
    (repos / "org/lone/.broken").unlink()
    files = await fetch_hub("org/lone:F16", cache=cache, environ=environ, report=told)
    assert files.paths[0].read_bytes() == gguf("f")


@pytest.mark.usefixtures("hub")
async def test_cache_that_cannot_be_written(
    environ: dict[str, str], told: Told, tmp_path: Path
) -> None:
    """A model cache that is no folder is an error that names it."""
    cache = tmp_path / "file"
    cache.touch()
    with pytest.raises(ModelError, match="cannot be written") as caught:
        await fetch_hub("org/one", cache=cache, environ=environ, report=told)
    assert str(cache) in caught.value.where


@pytest.mark.usefixtures("hub")
async def test_hub_cache_that_cannot_be_written(
    cache: Path, environ: dict[str, str], told: Told, tmp_path: Path
) -> None:
    """A hub's cache that is no folder is an error that names it and the variable that moves it."""
    (tmp_path / "file").touch()
    environ["HF_HUB_CACHE"] = str(tmp_path / "file" / "hub")
    with pytest.raises(ModelError, match="cannot be written") as caught:
        await fetch_hub("org/one", cache=cache, environ=environ, report=told)
    assert caught.value.where == environ["HF_HUB_CACHE"]
    assert "HF_HUB_CACHE" in caught.value.hint


def test_only_the_link_itself_tells_the_digest(cache: Path, environ: dict[str, str]) -> None:
    """A blob that is a link into a store of another kind of hashes does not lend its name."""
    repo = hub_cache(environ) / "models--org--one"
    store, blob = repo / "store" / ("f" * 64), repo / "blobs" / ("0" * 64)
    snapshot = repo / "snapshots" / "c0ffee"
    for folder in (store.parent, blob.parent, snapshot, repo / "refs"):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text("c0ffee")
    store.write_bytes(gguf())
    blob.symlink_to(store)
    (snapshot / "m-Q8_0.gguf").symlink_to(os.path.relpath(blob, snapshot))
    (snapshot / "m-Q4_0.gguf").write_bytes(gguf())
    linked = locate_hub("org/one:Q8_0", cache=cache, environ=environ)
    plain = locate_hub("org/one:Q4_0", cache=cache, environ=environ)
    assert linked is not None
    assert linked.sha256 == "0" * 64
    assert plain is not None
    assert plain.sha256 is None


@pytest.mark.parametrize(
    ("told_by", "folder"),
    [
        ({}, "~/.cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/x", "HF_HOME": "/h"}, "/h/hub"),
        ({"HF_HOME": "~/h"}, "~/h/hub"),
        ({"HF_HOME": "/h", "HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
        ({"HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "/new"}, "/new"),
    ],
)
def test_where_the_hub_caches(told_by: dict[str, str], folder: str) -> None:
    """The cache is where huggingface_hub would have it."""
    assert hub_cache(told_by) == Path(folder).expanduser()


def test_malformed_reference_is_nothing_to_a_plan(cache: Path, environ: dict[str, str]) -> None:
    """Looking never raises."""
    assert locate_hub("not a repository", cache=cache, environ=environ) is None
